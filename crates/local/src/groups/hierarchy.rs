//! A control group hierarchy in which this process can make groups.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A resource that control groups count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Controller {
    /// Memory, with a limit.
    Memory,
    /// Tasks (processes and their threads), with a limit.
    Pids,
    /// Processor time, counted only.
    Cpu,
}

/// A hierarchy in which groups can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// True for version 2, whose one hierarchy has all controllers.
    pub unified: bool,
    /// The controllers that count here.
    pub controllers: Vec<Controller>,
    /// The directory in which groups are made.
    pub base: PathBuf,
    /// The directory under `/sys/fs/cgroup` where a cell sees its own group; empty for version 2.
    pub name: String,
}

impl Hierarchy {
    /// True if this hierarchy counts `controller`.
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }
}

/// True if one of these hierarchies counts `controller`.
pub fn counts(hierarchies: &[Hierarchy], controller: Controller) -> bool {
    hierarchies.iter().any(|hierarchy| hierarchy.has(controller))
}
