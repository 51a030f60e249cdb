//! What the host and its launcher say to each other: one JSON message in a packet, descriptors beside it.

use std::{fmt, net::Ipv4Addr, path::PathBuf};

use cellblock_exec::Isolation;
use serde::{Deserialize, Serialize};

use crate::groups::Found;

/// A request to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Tell what was found on this machine.
    Describe,
    /// Get a cell of this kind ready before it is asked for.
    Prepare(Kind),
    /// Start a cell, or start it again after its driver has ended. Descriptors: the [`Spec`] as JSON in a memory file, the
    /// cell's end of the stream, and where complaints go.
    Start(Start),
    /// Kill the programs of a cell, but not its driver; if they have made too many files, remove these before, so that the
    /// driver does not see them.
    Stop(u64, Option<Room>),
    /// Remove the newest files of a cell's directory until they fit.
    Trim(u64, Room),
    /// Kill everything in a cell; its directory stays.
    Halt(u64),
    /// Kill everything in a cell, remove what it had, and tell.
    End(u64),
}

/// How much a cell's directory may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Room {
    /// Bytes of files.
    pub disk: u64,
    /// Files and directories.
    pub files: u64,
}

/// What the launcher tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// What was found on this machine.
    Facts(Facts),
    /// A cell has been started.
    Started {
        /// Its number.
        cell: u64,
        /// Its first process, or why there is none.
        process: Result<Process, Failure>,
    },
    /// A cell's first process has ended, by itself or killed.
    Died {
        /// The cell's number.
        cell: u64,
        /// Whether the kernel killed something in the cell because of its memory.
        out_of_memory: bool,
    },
    /// A cell's programs have been stopped, or its directory trimmed.
    Done(u64),
    /// Nothing of a cell is left, or what could not be removed.
    Ended {
        /// Its number.
        cell: u64,
        /// What is left.
        left: Option<Failure>,
    },
}

/// A kind of cell: what is the same for all cells of an executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kind {
    /// What stands between programs and the host.
    pub isolation: Isolation,
    /// Directories that programs may read, at the same path, besides those of the system.
    pub visible: Vec<PathBuf>,
    /// The interpreter that programs get by the name `python`.
    pub python: Option<PathBuf>,
}

/// A cell to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Its number, chosen by the host.
    pub cell: u64,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of memory, for its control group.
    pub memory: Option<u64>,
    /// Number of tasks, for its control group.
    pub tasks: Option<u64>,
    /// The directory that holds its files, where it has no file system of its own. The launcher makes and removes it.
    pub directory: Option<PathBuf>,
    /// The directory for its packages, which the host fills and programs only read. The launcher makes and removes it.
    pub packages: Option<PathBuf>,
}

/// What a cell is to be, read by its first process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The program that the first process becomes; `None` only tries whether a cell can be made.
    pub program: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// The directory that holds the cell's files, where it has no file system of its own.
    pub directory: Option<PathBuf>,
    /// Bytes of the cell's own file system; `None` is no limit.
    pub disk: Option<u64>,
    /// Files and directories in it; `None` is no limit.
    pub files: Option<u64>,
    /// Whether the driver relays connections, and programs may use internet sockets inside the cell.
    pub relays: bool,
    /// Names for the hosts file.
    pub names: Vec<(String, Ipv4Addr)>,
    /// Addresses that the loopback interface gets.
    pub addresses: Vec<Ipv4Addr>,
    /// The host's directory that is seen as `/packages`.
    pub packages: Option<PathBuf>,
}

/// The first process of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number, as the host sees it.
    pub pid: i32,
    /// When it started, in ticks since the machine did; tells it from a later process with the same number.
    pub started: u64,
    /// The name of its control groups; `None` where there are none.
    pub group: Option<String>,
}

/// What the launcher found on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The control group hierarchies in which it can make groups.
    pub groups: Vec<Found>,
    /// Why there are not more.
    pub groups_missing: Vec<String>,
    /// What the names of its groups and directories begin with.
    pub name: String,
    /// The version of Landlock; 0 is none.
    pub landlock: u32,
    /// Whether the kernel lists the children of a process, on which watching depends.
    pub lists_children: bool,
}

/// A step that failed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The step, as a verb and its object.
    pub step: String,
    /// The system's error number; 0 when it was not the system.
    pub errno: i32,
    /// The reason in words.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step, self.reason)
    }
}

impl std::error::Error for Failure {}

/// Names the step that a failure happened in.
pub(crate) trait Step<T> {
    /// On failure, says that it was not possible to `step`.
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Step<T> for nix::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step: step(),
            errno: errno as i32,
            reason: errno.desc().to_lowercase(),
        })
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| match error.raw_os_error() {
            Some(number) => Failure {
                step: step(),
                errno: number,
                reason: nix::errno::Errno::from_raw(number).desc().to_lowercase(),
            },
            None => Failure { step: step(), errno: 0, reason: error.to_string() },
        })
    }
}
