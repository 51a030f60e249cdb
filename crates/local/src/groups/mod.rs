//! Control groups: where the kernel itself counts and limits memory, processes and processor time.
//!
//! Version 1 has a hierarchy for each controller, version 2 has one for all; a machine may mix them. What is used is
//! found by trying: a group is made in each hierarchy when the launcher starts.

mod find;
mod group;

use std::path::PathBuf;

pub(crate) use find::find;
pub(crate) use group::{enter, is_gone, kill, kills, kills_in, limit, make, names, remove};
use serde::{Deserialize, Serialize};

/// What a control group can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Controller {
    /// Memory, with a limit.
    Memory,
    /// Tasks (processes and their threads), with a limit.
    Pids,
    /// Processor time, counted only.
    Cpu,
}

/// A hierarchy in which groups can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Whether it is of version 2.
    pub unified: bool,
    /// What it counts.
    pub controllers: Vec<Controller>,
    /// The directory that groups are made in.
    pub base: PathBuf,
    /// Where a cell sees its own group, under `/sys/fs/cgroup`; empty for version 2.
    pub name: String,
}

/// Whether `found` counts `controller`.
pub(crate) fn counts(found: &[Found], controller: Controller) -> bool {
    found.iter().any(|hierarchy| hierarchy.controllers.contains(&controller))
}
