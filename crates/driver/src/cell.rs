//! What a backend gives: a live cell.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use cellblock_exec::{Error, InstallReport, Limit, Requirement, Result};
use tokio::io::{AsyncRead, AsyncWrite};

/// The two directions of the stream to a driver: its standard input and output.
pub struct Stream {
    /// What the driver writes.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What the driver reads. Dropping it ends the driver, and with it the cell.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// A live cell. Dropping it ends everything in it and leaves nothing behind.
#[async_trait]
pub trait Cell: Debug + Send + 'static {
    /// Kills every program in the cell, but not the driver, from outside. Only for cells in which the driver cannot do it
    /// ([`Config::alone`](crate::Config::alone) is false).
    fn stop_programs(&mut self) {}

    /// What the cell uses now, seen from outside. `None`, the default, where a control group counts and limits it: the
    /// driver reads that. With `exact`, at the end of a block, nothing may be left out to save time.
    fn reading(&mut self, exact: bool) -> Option<Reading> {
        let _ = exact;
        None
    }

    /// Kills everything in the cell, the driver too, without waiting.
    fn kill(&mut self);

    /// The limit that ended the driver, if one did. Asked once the stream has ended, and again when
    /// [`Cell::restart`] has failed.
    fn limit_hit(&mut self) -> Option<Limit> {
        None
    }

    /// The end of what the driver has written to its standard error, if it can be had. Asked once
    /// the stream has ended.
    fn last_words(&mut self) -> String {
        String::new()
    }

    /// Starts a new driver on the files of the old one, which has ended.
    ///
    /// # Errors
    /// [`Error::Lost`] where the files are gone with it.
    async fn restart(&mut self) -> Result<Stream> {
        Err(Error::Lost {
            what: "the cell has ended, and its files with it; open a new session".to_owned(),
            source: "its first process is gone".into(),
        })
    }

    /// Makes packages available in the cell.
    ///
    /// # Errors
    /// [`Error::Install`] when there is no such package, none that works here, or no way to fetch it.
    async fn install(&mut self, packages: &[Requirement]) -> Result<Installed>;

    /// Ends everything in the cell and waits until nothing of it is left.
    ///
    /// # Errors
    /// [`Error::Lost`] when something could not be cleaned up.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// What an installation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What is new.
    pub report: InstallReport,
    /// The directory in the cell that holds all packages of the session: its modules, and programs in its `bin`. It takes
    /// the place of the one before. `None` when nothing changed.
    pub directory: Option<String>,
}

/// What a cell uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Processor time since the cell began.
    pub cpu: Duration,
    /// Memory now, in bytes.
    pub memory: u64,
    /// Processes now, without the driver and its worker.
    pub processes: u32,
    /// Bytes of files now.
    pub disk: u64,
    /// Files and directories now.
    pub files: u64,
}
