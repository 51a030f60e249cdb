//! The options of an executor.

use std::path::PathBuf;

use cellblock_exec::{Error, Result};

use crate::names::DEFAULT_IMAGE;

/// The options of an executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The image that sessions start from: the engine's name of it, or `docker-python` for the one
    /// that [`pull`](crate::pull) makes. Default `docker-python`.
    pub image: String,
    /// The engine's runtime, such as `runsc`; `None`, the default, is the engine's default.
    pub runtime: Option<String>,
    /// Processors that a session may use at once, such as `1.5`; `None`, the default, is all.
    pub cpus: Option<f64>,
    /// Graphics processors that sessions may use. Default none.
    pub gpus: Option<Gpus>,
    /// Directories of the host that sessions see. Default none.
    pub mounts: Vec<HostMount>,
    /// The number of idle containers that are kept for the next session of the same kind. Default
    /// 1.
    pub idle: usize,
    /// True if packages without a wheel may be built. That runs their code with network access, in
    /// a container of its own. Default false.
    pub source_builds: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: DEFAULT_IMAGE.to_owned(),
            runtime: None,
            cpus: None,
            gpus: None,
            mounts: Vec::new(),
            idle: 1,
            source_builds: false,
        }
    }
}

/// Graphics processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpus {
    /// All of them.
    All,
    /// This many.
    Count(u32),
    /// The ones with these numbers or names.
    Devices(Vec<String>),
}

/// A directory of the host that sessions see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// The directory, on the engine's machine.
    pub host: PathBuf,
    /// The path at which sessions see it.
    pub cell: String,
    /// True if sessions may write to it. Files that they write there count against no limit.
    pub writable: bool,
}

impl Options {
    /// Returns an error for invalid options.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what, why: String| Err(Error::Invalid { what, why });
        if let Some(cpus) = self.cpus.filter(|cpus| !(cpus.is_finite() && *cpus >= 0.01)) {
            return invalid("cpus", format!("{cpus} processors are too few; give at least 0.01"));
        }
        for HostMount { host, cell, .. } in &self.mounts {
            if !host.is_absolute() {
                return invalid("mount", format!("`{}` is not an absolute path", host.display()));
            }
            let parts: Vec<&str> = cell.split('/').collect();
            let normal = parts.len() > 1 && parts[0].is_empty();
            if !normal || parts[1..].iter().any(|part| matches!(*part, "" | "." | "..")) {
                return invalid("mount", format!("`{cell}` is not an absolute path in the cell"));
            }
            // A directory over one of these would remove a limit or a wall.
            if matches!(parts[1], "proc" | "sys" | "dev" | "packages")
                || matches!(cell.as_str(), "/workspace" | "/tmp")
            {
                return invalid(
                    "mount",
                    format!(
                        "`{cell}` belongs to the cell itself; choose another path such as /data"
                    ),
                );
            }
        }
        Ok(())
    }
}
