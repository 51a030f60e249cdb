//! What a driver is started with.

use std::time::Duration;

use cellblock_exec::Limits;
use serde::Serialize;

use crate::{INTERPRETERS, Interpreter, relay::Relay};

/// Reads the driver's program from its standard input and becomes it. The program is not an argument, because compiling it
/// is most of a start: when it comes compiled, nothing is left to do.
const BOOT: &str = include_str!("boot.py");

/// What a driver is told when it starts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The session's directory in the cell; blocks start in it.
    pub workspace: String,
    /// The directory for temporary files in the cell.
    pub temporary: String,
    /// `PATH` for programs, and where interpreters are looked for.
    pub path: String,
    /// A directory of modules that every Python of the cell finds before all others, such as what
    /// takes the place of something the cell lacks; `None` where nothing is lacking.
    pub modules: Option<String>,
    /// Whether the driver is process 1 of a process namespace, so that all other processes it sees are programs of its
    /// own cell, which it may kill.
    pub alone: bool,
    /// Bytes of files, by which a failure for lack of room is told apart, and the largest file.
    pub disk: u64,
    /// Number of files that may be handed out at most.
    pub files: u32,
    /// Processor time for a block, in milliseconds, where a control group counts it.
    pub cpu_ms: Option<u64>,
    /// The most data memory of one process, in bytes (RLIMIT_DATA); only where no control group limits memory.
    pub data: Option<u64>,
    /// The most processes (RLIMIT_NPROC); only where the cell has a user namespace of its own and no control group.
    pub processes: Option<u32>,
    /// Where the driver listens on behalf of hosts that the session may reach.
    pub relays: Vec<Relay>,
    /// Languages that are run by a program of their own.
    pub interpreters: Vec<Interpreter>,
}

impl Config {
    /// A driver alone in its cell, in `/workspace`, under control groups.
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

/// The arguments with which `python` becomes the driver: isolated from the environment, and without `site`, which would
/// run code of installed packages. The program itself is sent over the stream by [`Driver::start`](crate::Driver::start).
pub fn command(config: &Config) -> Vec<String> {
    // Texts, whole numbers and lists only: this cannot fail. JSON of that kind is a Python expression but for three names.
    let config = serde_json::to_string(config).unwrap_or_default();
    ["-I", "-S", "-c", BOOT, &config].map(str::to_owned).to_vec()
}
