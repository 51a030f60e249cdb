//! How an executor is set up.

use std::path::PathBuf;

use cellblock_exec::{Error, Result};

/// How an executor is set up.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The image that sessions start from: a name as the engine knows it, or `docker-python` for the one that
    /// [`pull`](crate::pull) makes. Default `docker-python`.
    pub image: String,
    /// The engine's runtime, such as `runsc`; `None`, the default, is the engine's own choice.
    pub runtime: Option<String>,
    /// Processors that a session may use at once, such as `1.5`; `None`, the default, is all.
    pub cpus: Option<f64>,
    /// Graphics processors that sessions may use. Default none.
    pub gpus: Option<Gpus>,
    /// Directories of the host that sessions see. Default none.
    pub mounts: Vec<HostMount>,
    /// How many idle containers are kept for the next session of the same kind; 0 keeps none. Default 1.
    pub idle: usize,
    /// Whether packages without a wheel may be built, which runs code of theirs with network access in a container of its
    /// own. Default no.
    pub source_builds: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: crate::image::DEFAULT.to_owned(),
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
    /// All there are.
    All,
    /// This many.
    Count(u32),
    /// Those with these numbers or names.
    Devices(Vec<String>),
}

/// A directory of the host that sessions see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// The directory, on the engine's machine.
    pub host: PathBuf,
    /// Where sessions see it.
    pub cell: String,
    /// Whether sessions may write to it. What they write there counts against no limit.
    pub writable: bool,
}

impl Options {
    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what, why: String| Err(Error::Invalid { what, why });
        if let Some(cpus) = self.cpus.filter(|cpus| !(cpus.is_finite() && *cpus >= 0.01)) {
            return invalid("cpus", format!("{cpus} processors are too few; give at least 0.01"));
        }
        for HostMount { host, cell, .. } in &self.mounts {
            if !host.is_absolute() {
                return invalid("mount", format!("{} is not an absolute path", host.display()));
            }
            let parts: Vec<&str> = cell.split('/').collect();
            let normal = parts.len() > 1 && parts[0].is_empty();
            if !normal || parts[1..].iter().any(|part| matches!(*part, "" | "." | "..")) {
                return invalid("mount", format!("{cell:?} is not an absolute path in the cell"));
            }
            // A directory over one of these would take a limit or a wall away.
            if matches!(parts[1], "proc" | "sys" | "dev" | "packages")
                || matches!(cell.as_str(), "/workspace" | "/tmp")
            {
                return invalid(
                    "mount",
                    format!("{cell} belongs to the cell itself; choose another place, as in /data"),
                );
            }
        }
        Ok(())
    }
}
