//! The configuration that a driver starts with.

use std::time::Duration;

use cellblock_exec::Limits;
use serde::Serialize;

use crate::{INTERPRETERS, LanguageInterpreter, Relay};

/// A program that reads the driver's program from its standard input and becomes it. The driver's
/// program is not an argument, because compiling it is most of a start: when it comes compiled,
/// nothing remains to be done.
const BOOT: &str = include_str!("boot.py");

/// The configuration of a driver.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriverConfig {
    /// The session's directory in the cell, in which blocks start.
    pub workspace: String,
    /// The directory for temporary files in the cell.
    pub temporary: String,
    /// `PATH` for programs, and where interpreters are looked for.
    pub path: String,
    /// A directory of modules that every Python of the cell finds before all others, such as
    /// replacements for something the cell lacks. `None` if nothing is lacking.
    pub modules: Option<String>,
    /// True if the driver is process 1 of a process namespace. Then all other processes that it
    /// sees are programs of its own cell, which it may kill.
    pub alone: bool,
    /// The quota of the workspace, and the maximum size of one file, in bytes.
    pub disk: u64,
    /// The maximum number of files that are sent to the host.
    pub files: u32,
    /// The maximum processor time of a block, in milliseconds, where a control group counts it.
    pub cpu_ms: Option<u64>,
    /// The maximum data memory of one process, in bytes (RLIMIT_DATA). Only where no control group
    /// limits memory.
    pub data: Option<u64>,
    /// The maximum number of processes (RLIMIT_NPROC). Only where the cell has a user namespace of
    /// its own and no control group.
    pub processes: Option<u32>,
    /// The addresses where the driver listens for hosts that the session may reach.
    pub relays: Vec<Relay>,
    /// The languages that a program of their own runs.
    pub interpreters: Vec<LanguageInterpreter>,
}

impl DriverConfig {
    /// Returns the configuration of a driver alone in its cell, in `/workspace`, under control
    /// groups.
    pub fn new(limits: &Limits) -> Self {
        Self {
            workspace: "/workspace".to_owned(),
            temporary: "/tmp".to_owned(),
            path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            modules: None,
            alone: true,
            disk: limits.disk,
            files: limits.files,
            cpu_ms: limits.cpu.map(millis),
            data: None,
            processes: None,
            relays: Vec::new(),
            interpreters: INTERPRETERS.to_vec(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the arguments with which `python` becomes the driver: isolated from the environment, and
/// without `site`, which would run code of installed packages. The driver's program is sent over
/// the stream by [`Driver::start`](crate::Driver::start).
pub fn command(config: &DriverConfig) -> Vec<String> {
    // The configuration has texts, whole numbers and lists only, so this cannot fail. Such JSON is
    // a Python expression but for three names.
    let config = serde_json::to_string(config).unwrap_or_default();
    ["-I", "-S", "-c", BOOT, &config].map(str::to_owned).to_vec()
}
