//! The messages between a driver and its host: their kinds, and what their fields mean.
//!
//! A message is a byte for its kind, four bytes of length, and fields: each four bytes of length
//! and its content. Numbers are little-endian, or decimal text in fields.
//! `driver/messages.py` has the same tables, and a test compares the two.
//!
//! | to the driver | fields |
//! |---|---|
//! | run | number, language, file name, name in tracebacks, code, standard input |
//! | write a file | path, content |
//! | stop | number of the block |
//! | set environment variables | name, value, name, value … |
//! | use packages | directory of modules, directory of programs |
//! | answer of the host | number of the question, answer |
//! | data, passed, closed: connections | name, then data, number of bytes passed on, nothing |
//!
//! | from the driver | fields |
//! |---|---|
//! | program | the compiled program, for the next driver |
//! | hello | Python's version, languages … |
//! | standard output, standard error | data |
//! | artifact, its content | path; data |
//! | refused file | path, reason |
//! | done | error number or nothing, `files` if there were too many |
//! | ended: a block | see [`BlockEnd`] |
//! | question to the host | number of the block, of the question, question |
//! | connect | name, number of the relay |
//! | data, passed, closed: connections | as above |
//! | failed: the driver ends | the reason, `memory` if there was too little |
//!
//! Questions and answers are those of [`cellblock_exec::python::HostCalls`].

use std::io;

use bytes::Bytes;

#[cfg(test)]
mod tests;

macro_rules! message_kinds {
    ($($direction:literal: $($kind:ident = $byte:literal,)+)+) => {
        /// The kind of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum MessageKind {
            $($($kind,)+)+
            /// A byte that our driver does not send.
            Unknown(u8),
        }

        impl MessageKind {
            /// Returns the byte at the head of a message of this kind.
            pub fn byte(self) -> u8 {
                match self {
                    $($(Self::$kind => $byte,)+)+
                    Self::Unknown(byte) => byte,
                }
            }
        }

        impl From<u8> for MessageKind {
            fn from(byte: u8) -> Self {
                match byte {
                    $($($byte => Self::$kind,)+)+
                    byte => Self::Unknown(byte),
                }
            }
        }

        /// Direction, name and byte of each kind.
        #[cfg(test)]
        const KINDS: &[(&str, &str, u8)] = &[$($(($direction, stringify!($kind), $byte),)+)+];
    };
}

message_kinds! {
    "To the driver":
        Run = b'r',
        Write = b'w',
        Stop = b'k',
        SetEnvironment = b's',
        UsePackages = b'u',
        Answer = b'n',
    "From the driver":
        Program = b'p',
        Hello = b'h',
        Stdout = b'o',
        Stderr = b'e',
        Artifact = b'a',
        Content = b'b',
        Refused = b'f',
        Done = b'y',
        Ended = b'd',
        Connect = b'c',
        Question = b'q',
        Failed = b'l',
    "In both directions":
        Data = b'x',
        Passed = b'v',
        Closed = b'z',
}

/// The byte before a driver's program that is compiled; `boot.py` has the same.
pub const COMPILED: u8 = b'c';
/// The byte before a driver's program that is source text.
pub const TEXT: u8 = b't';

/// The field that says that the limit on processor time ended a block.
const CPU: &str = "cpu";
/// The field that says that a driver had too little memory.
const MEMORY: &str = "memory";
/// The field that says that the workspace has no free bytes.
const DISK: &str = "disk";
/// The field that says that the workspace can have no more files.
const FILES: &str = "files";

/// The maximum length of a text about a driver or a block that is kept, in characters.
const MAX_NOTE_CHARS: usize = 1000;

/// A message of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverMessage {
    pub kind: MessageKind,
    pub fields: Vec<Bytes>,
}

impl DriverMessage {
    /// Returns the field at `index`; a missing one is empty.
    pub fn field(&self, index: usize) -> &[u8] {
        self.fields.get(index).map_or(&[], |field| field)
    }

    /// Returns the field at `index` as text; invalid UTF-8 becomes U+FFFD.
    pub fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.field(index)).into_owned()
    }

    /// Returns the field at `index` as a note for people; see [`visible`].
    pub fn note(&self, index: usize) -> String {
        visible(&self.text(index))
    }

    /// Returns the field at `index` as a number; `None` if it is empty or not a number.
    pub fn number<T: std::str::FromStr>(&self, index: usize) -> Option<T> {
        std::str::from_utf8(self.field(index)).ok()?.parse().ok()
    }
}

/// Returns the beginning of a text from a cell, with spaces for control characters, which a
/// terminal would obey.
pub fn visible(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_NOTE_CHARS).map(shown).collect()
}

/// The quota of a workspace that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullQuota {
    /// Bytes.
    Disk,
    /// Number of files.
    Files,
}

impl FullQuota {
    fn from_field(field: &[u8]) -> Option<Self> {
        match field {
            field if field == DISK.as_bytes() => Some(Self::Disk),
            field if field == FILES.as_bytes() => Some(Self::Files),
            _ => None,
        }
    }
}

/// The answer to a request to write a file or to use packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The number of the error, if there was one.
    pub errno: Option<i32>,
    /// The quota that was used up, if that was the reason.
    pub full: Option<FullQuota>,
}

impl From<&DriverMessage> for Done {
    fn from(message: &DriverMessage) -> Self {
        Self { errno: message.number(0), full: FullQuota::from_field(message.field(1)) }
    }
}

/// The last message of a driver that cannot continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverFailure {
    /// The reason, in the driver's own words.
    pub reason: String,
    /// True if the driver had too little memory.
    pub out_of_memory: bool,
}

impl DriverFailure {
    /// Returns the message that an error of the wire stands for, if it stands for one.
    pub fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|source| source.downcast_ref())
    }
}

impl From<&DriverMessage> for DriverFailure {
    fn from(message: &DriverMessage) -> Self {
        Self { reason: message.note(0), out_of_memory: message.field(1) == MEMORY.as_bytes() }
    }
}

impl std::fmt::Display for DriverFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the driver failed: {}", self.reason)
    }
}

impl std::error::Error for DriverFailure {}

/// The end of a block, as the driver saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockEnd {
    /// The exit code, unless a signal ended the block.
    pub code: Option<i32>,
    /// The signal that ended the block.
    pub signal: Option<i32>,
    /// The type of the exception that ended a Python block; empty if none did.
    pub exception: String,
    /// The error number of that exception.
    pub errno: Option<i32>,
    /// True if the driver stopped the block for its processor time.
    pub out_of_cpu: bool,
    /// True if the Python interpreter was lost.
    pub lost: bool,
    /// True if a program was killed for lack of memory meanwhile.
    pub out_of_memory: bool,
    /// True if a program was refused a process meanwhile.
    pub out_of_processes: bool,
    /// The quota of the workspace that was used up when the block failed.
    pub full: Option<FullQuota>,
    /// Processor time, in microseconds.
    pub cpu_us: u64,
    /// Memory of the cell at the end, in bytes.
    pub memory: u64,
    /// A further note for people; empty if there is none.
    pub note: String,
}

impl From<&DriverMessage> for BlockEnd {
    fn from(message: &DriverMessage) -> Self {
        Self {
            code: message.number(1),
            signal: message.number(2),
            exception: message.text(3),
            errno: message.number(4),
            out_of_cpu: message.field(5) == CPU.as_bytes(),
            lost: !message.field(6).is_empty(),
            out_of_memory: !message.field(7).is_empty(),
            out_of_processes: !message.field(8).is_empty(),
            full: FullQuota::from_field(message.field(9)),
            cpu_us: message.number(10).unwrap_or_default(),
            memory: message.number(11).unwrap_or_default(),
            note: message.note(12),
        }
    }
}
