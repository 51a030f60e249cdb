//! The messages between the host and its launcher.
//!
//! Each message is one JSON value in one packet, with descriptors beside it. A cell's first process
//! gets its [`CellSpec`] the same way, from the launcher.

use std::{net::Ipv4Addr, path::PathBuf};

use cellblock_exec::Isolation;
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, groups::Hierarchy};

/// A request to the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Asks for [`Reply::Facts`].
    Describe,
    /// Makes a first process of this kind before a session needs it.
    Prepare(CellKind),
    /// Starts a cell, or starts it again after its driver has ended. Three descriptors come with
    /// it: a memory file with the [`CellSpec`] as JSON, the cell's end of the stream, and a pipe
    /// for the standard error of the first process.
    Start(CellStart),
    /// Kills the programs of a cell, but not its driver. With limits, first removes the files
    /// above them, so that the driver does not see these files.
    Stop(u64, Option<FileLimits>),
    /// Removes the newest files of a cell's directory until the others fit the limits.
    Trim(u64, FileLimits),
    /// Kills everything in a cell. Its directory stays.
    Halt(u64),
    /// Kills everything in a cell and removes its groups and directories.
    End(u64),
}

/// The limits on the files in a cell's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLimits {
    /// Bytes of files.
    pub disk: u64,
    /// Number of files and directories.
    pub files: u64,
}

/// A message from the launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The facts that the launcher found on this machine.
    Facts(HostFacts),
    /// A cell has started, or could not.
    Started {
        /// The cell's number.
        cell: u64,
        /// The first process, or the reason why there is none.
        process: Result<DriverProcess, Failure>,
    },
    /// The first process of a cell has ended, by itself or killed.
    Died {
        /// The cell's number.
        cell: u64,
        /// True if the kernel killed a process of the cell because of its limit on memory.
        out_of_memory: bool,
    },
    /// The programs of a cell have been stopped, or its directory trimmed as far as possible.
    Done(u64),
    /// A cell has ended and been removed.
    Ended {
        /// The cell's number.
        cell: u64,
        /// The step of the removal that failed, if one did.
        remaining: Option<Failure>,
    },
}

/// The properties that all cells of an executor share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellKind {
    /// The level of isolation.
    pub isolation: Isolation,
    /// Directories that programs can read, at the same path, besides those of the system.
    pub visible: Vec<PathBuf>,
    /// The interpreter that programs find under the name `python`.
    pub python: Option<PathBuf>,
}

/// A cell to start.
#[derive(Debug, Serialize, Deserialize)]
pub struct CellStart {
    /// The cell's number, chosen by the host.
    pub cell: u64,
    /// The cell's kind.
    pub kind: CellKind,
    /// Bytes of memory, for the control group.
    pub memory: Option<u64>,
    /// Number of tasks, for the control group.
    pub tasks: Option<u64>,
    /// The directory for the files of a cell without a file system of its own. The launcher makes
    /// and removes it.
    pub directory: Option<PathBuf>,
    /// The directory for the cell's packages, which the host fills and programs can only read. The
    /// launcher makes and removes it.
    pub packages: Option<PathBuf>,
}

/// The session's part of a cell, read by the first process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellSpec {
    /// The program that the first process becomes; `None` only tests that a cell can be made.
    pub program: Option<PathBuf>,
    /// Arguments of the program.
    pub arguments: Vec<String>,
    /// Environment of the program.
    pub environment: Vec<(String, String)>,
    /// The directory for the files of a cell without a file system of its own.
    pub directory: Option<PathBuf>,
    /// Bytes of the cell's own file system; `None` is no limit.
    pub disk: Option<u64>,
    /// Number of files and directories in it; `None` is no limit.
    pub files: Option<u64>,
    /// True if the driver relays connections, so programs can use internet sockets in the cell.
    pub relays: bool,
    /// Names for the hosts file.
    pub names: Vec<(String, Ipv4Addr)>,
    /// Addresses for the loopback interface.
    pub addresses: Vec<Ipv4Addr>,
    /// The host's directory that the cell sees as `/packages`.
    pub packages: Option<PathBuf>,
}

/// The first process of a cell, which becomes the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverProcess {
    /// The process number, as the host sees it.
    pub pid: i32,
    /// The start time, in ticks since the machine started. It distinguishes the process from a
    /// later one with the same number.
    pub started: u64,
    /// The name of the cell's control groups; `None` where there are none.
    pub group: Option<String>,
}

/// The facts that the launcher found on this machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// The control group hierarchies in which the launcher can make groups.
    pub groups: Vec<Hierarchy>,
    /// The reasons why there are not more.
    pub groups_missing: Vec<String>,
    /// The prefix of the names of the launcher's groups and directories.
    pub name: String,
    /// The version of Landlock; 0 is none.
    pub landlock: u32,
    /// True if the kernel lists the children of a process, which watching needs.
    pub lists_children: bool,
}
