//! The interface of a backend: a live cell, and the stream to its driver.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use cellblock_exec::{Error, InstallReport, Limit, Requirement, Result};
use tokio::io::{AsyncRead, AsyncWrite};

/// The minimum memory limit of a session in a cell, in bytes: a driver, an interpreter, and, where
/// files are in memory, some room for them.
pub const MIN_MEMORY: u64 = 32 << 20;

/// The two directions of the stream to a driver: its standard input and output.
pub struct DriverStream {
    /// The driver's output.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// The driver's input. Dropping it ends the driver, and with it the cell.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Debug for DriverStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriverStream").finish_non_exhaustive()
    }
}

/// A live cell. Dropping it ends everything in it and leaves nothing behind.
#[async_trait]
pub trait Cell: Debug + Send + 'static {
    /// Kills every program in the cell, but not the driver, from outside. Only for cells in which
    /// the driver cannot do it ([`DriverConfig::alone`](crate::DriverConfig::alone) is false).
    fn stop_programs(&mut self) {}

    /// Returns what the cell uses now, as seen from outside. `None`, the default, where a control
    /// group counts and limits it: the driver reads that. With `exact`, at the end of a block,
    /// nothing may be left out to save time.
    fn usage(&mut self, exact: bool) -> Option<CellUsage> {
        let _ = exact;
        None
    }

    /// Kills everything in the cell, including the driver, without waiting.
    fn kill(&mut self);

    /// Returns the limit that ended the driver, if one did. Called once the stream has ended, and
    /// again when [`Cell::restart`] has failed.
    fn limit_hit(&mut self) -> Option<Limit> {
        None
    }

    /// Returns the end of the driver's standard error, if the cell has it. Called once the stream
    /// has ended.
    fn last_words(&mut self) -> String {
        String::new()
    }

    /// Starts a new driver on the files of the old one, which has ended.
    ///
    /// # Errors
    /// [`Error::Lost`] where the files are gone with it.
    async fn restart(&mut self) -> Result<DriverStream> {
        Err(Error::Lost {
            what: "the cell has ended, and its files with it; open a new session".to_owned(),
            source: "its first process is gone".into(),
        })
    }

    /// Makes packages available in the cell.
    ///
    /// # Errors
    /// [`Error::Install`] when a package does not exist, does not work here, or cannot be fetched.
    async fn install(&mut self, packages: &[Requirement]) -> Result<CellInstall>;

    /// Ends everything in the cell and waits until nothing of it remains.
    ///
    /// # Errors
    /// [`Error::Lost`] when something could not be removed.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// The result of an installation in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellInstall {
    /// The new packages.
    pub report: InstallReport,
    /// The directory in the cell that holds all packages of the session: its modules, and programs
    /// in its `bin`. It replaces the previous one. `None` when nothing changed.
    pub directory: Option<String>,
}

/// The resources that a cell uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CellUsage {
    /// Processor time since the cell began.
    pub cpu: Duration,
    /// Current memory, in bytes.
    pub memory: u64,
    /// Current processes, without the driver and its worker.
    pub processes: u32,
    /// Current bytes of files.
    pub disk: u64,
    /// Current files and directories.
    pub files: u64,
}
