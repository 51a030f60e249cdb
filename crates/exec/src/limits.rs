//! The limits of a session, and the hosts that it may connect to.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One mebibyte, in bytes.
const MIB: u64 = 1024 * 1024;

/// Limits of a session. An executor enforces each limit or refuses it when the session opens; it
/// never ignores one.
///
/// The defaults fit a data-analysis answer on a laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time of one block, including sleep. Default: 60 s.
    #[serde(with = "crate::millis")]
    pub wall: Duration,
    /// Processor time of one block; `None` leaves it to `wall`. Default: `None`.
    #[serde(with = "optional_millis")]
    pub cpu: Option<Duration>,
    /// Memory of the session, including the interpreter, in bytes. Default: 1 GiB.
    pub memory: u64,
    /// Bytes kept of stdout, and of stderr: half from the head, half from the tail. The rest is
    /// counted and dropped. A block that writes [`FLOOD_FACTOR`] times as much is stopped. Default:
    /// 1 MiB.
    pub output: u64,
    /// Bytes of all files that the session writes. Default: 256 MiB.
    pub disk: u64,
    /// Number of files and directories that the session makes. Default: 4,096.
    pub files: u32,
    /// Number of processes alive at once. Default: 64.
    pub processes: u32,
}

/// A stream of more than this many times [`Limits::output`] is a flood: the program is stopped.
///
/// A chatty program should succeed with shortened output, but one that writes without end must not
/// hold a core until the deadline.
pub const FLOOD_FACTOR: u64 = 128;

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(60),
            cpu: None,
            memory: 1024 * MIB,
            output: MIB,
            disk: 256 * MIB,
            files: 4096,
            processes: 64,
        }
    }
}

impl Limits {
    /// Refuses values that are invalid for every executor.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a deadline of zero.
    pub fn check(&self) -> Result<()> {
        let invalid = |what| Err(Error::Invalid { what, why: "it must be more than 0".to_owned() });
        if self.wall.is_zero() {
            return invalid("wall limit");
        }
        if self.cpu.is_some_and(|cpu| cpu.is_zero()) {
            return invalid("cpu limit");
        }
        Ok(())
    }
}

impl Limits {
    /// Returns the requested limits. The maximum value of a field requests none.
    pub fn asked(&self) -> impl Iterator<Item = Limit> + use<> {
        let asked = [
            (Limit::Wall, self.wall != Duration::MAX),
            (Limit::Cpu, self.cpu.is_some()),
            (Limit::Memory, self.memory != u64::MAX),
            (Limit::Output, self.output != u64::MAX),
            (Limit::Disk, self.disk != u64::MAX),
            (Limit::Files, self.files != u32::MAX),
            (Limit::Processes, self.processes != u32::MAX),
        ];
        asked.into_iter().filter_map(|(limit, is_asked)| is_asked.then_some(limit))
    }
}

/// The name of a limit, as results report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Wall time.
    Wall,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Bytes written to stdout or stderr.
    Output,
    /// Bytes in files.
    Disk,
    /// Number of files.
    Files,
    /// Number of processes.
    Processes,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 7] = [
        Limit::Wall,
        Limit::Cpu,
        Limit::Memory,
        Limit::Output,
        Limit::Disk,
        Limit::Files,
        Limit::Processes,
    ];
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Wall => "wall",
            Limit::Cpu => "cpu",
            Limit::Memory => "memory",
            Limit::Output => "output",
            Limit::Disk => "disk",
            Limit::Files => "files",
            Limit::Processes => "processes",
        })
    }
}

/// The network access of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing. The default.
    #[default]
    Denied,
    /// Only these hosts.
    Allow(Vec<HostRule>),
}

/// A host, and optionally one port of it, that a session may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRule {
    /// A host name or an address.
    pub host: String,
    /// The only port allowed; `None` allows all.
    pub port: Option<u16>,
}

/// Like [`crate::millis`], for an optional duration.
mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Millis(#[serde(with = "crate::millis")] Duration);

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Millis).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Millis>::deserialize(deserializer)?.map(|millis| millis.0))
    }
}
