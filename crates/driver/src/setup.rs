//! The description of a session's cell, given by the backend that made the cell.

use std::collections::BTreeMap;

use cellblock_exec::{InputFile, Isolation, Limit, Limits};

use crate::{DriverProgram, Relay};

/// The properties of a session's cell.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The executor's name.
    pub executor: &'static str,
    /// The isolation between programs and the host.
    pub isolation: Isolation,
    /// The session's limits.
    pub limits: Limits,
    /// Limits of the session that are only watched.
    pub watched: Vec<Limit>,
    /// Environment variables for programs, besides those that the driver sets.
    pub environment: BTreeMap<String, String>,
    /// Files to put into the workspace.
    pub files: Vec<InputFile>,
    /// The hosts that the driver's relays connect to, as in
    /// [`DriverConfig::relays`](crate::DriverConfig::relays).
    pub relays: Vec<Relay>,
    /// Packages that programs have from the start.
    pub packages: Option<PackageDirectories>,
    /// True if an allocation beyond the memory limit fails
    /// ([`DriverConfig::data`](crate::DriverConfig::data) is set); otherwise the program is killed.
    pub memory_is_refused: bool,
    /// The driver's program for the cell's interpreter.
    pub program: DriverProgram,
}

/// The directories of installed packages in the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDirectories {
    /// The directory of the modules.
    pub modules: String,
    /// The directory of the programs.
    pub programs: String,
}
