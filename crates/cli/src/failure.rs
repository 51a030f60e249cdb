//! Failures as a person sees them: what failed, why, and what to do next.

use std::{fmt, io::Write as _, process::ExitCode};

use anstyle::{AnsiColor, Style};
use cellblock_agents::{self as agents, LogOperation, ModelError};
use cellblock_exec::Error;

use crate::render::sanitize::one_line;

/// Usage: what was asked makes no sense.
pub const USAGE: u8 = 2;
/// We failed.
pub const FAILED: u8 = 125;
/// Refused by policy, or unsupported.
pub const REFUSED: u8 = 126;
/// Interrupted: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Nobody reads the output any more: 128 and the number of SIGPIPE.
pub const NO_READER: u8 = 141;

/// A failure with its exit status and what to do about it.
#[derive(Debug)]
pub struct Refusal {
    /// The exit status.
    pub code: u8,
    /// What failed, in lower case.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// A usage error with a hint.
pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Refusal { code: USAGE, message: message.into(), hint: hint.into() })
}

/// That Ctrl-C came before there was anything to show.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The exit status of a failure.
pub fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return refusal.code;
        }
        if cause.is::<Interrupted>() {
            return INTERRUPTED;
        }
        if is_broken_pipe(cause) {
            return NO_READER;
        }
        if let Some(agents::Error::Invalid(_) | agents::Error::Log { .. }) = cause.downcast_ref() {
            return USAGE;
        }
        if let Some(ModelError::NoKey { .. }) = cause.downcast_ref() {
            return USAGE;
        }
        match cause.downcast_ref::<Error>() {
            Some(Error::Invalid { .. }) => return USAGE,
            Some(Error::Unsupported(_)) => return REFUSED,
            _ => {}
        }
    }
    FAILED
}

/// What to do about a failure; `None` when its message says it all.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal.hint.clone());
        }
        match cause.downcast_ref::<agents::Error>() {
            Some(agents::Error::Log { operation: LogOperation::Create, .. }) => {
                return Some(
                    "--save takes the name of a new file in a directory that is there".into(),
                );
            }
            Some(agents::Error::Log { .. }) => {
                return Some("--resume takes a chat that this version saved with --save, with the same agents".into());
            }
            Some(agents::Error::Invalid(_)) => {
                return Some("docs/chat.md tells what agents and chats can be".into());
            }
            _ => {}
        }
        match cause.downcast_ref::<ModelError>() {
            Some(ModelError::NoKey { .. }) => {
                return Some(
                    "or choose another model with --model; `local` runs on this machine and needs no key".into(),
                );
            }
            Some(ModelError::Start { .. }) => {
                return Some(
                    "`cellblock doctor` shows what there is of models on this machine".into(),
                );
            }
            _ => {}
        }
        match cause.downcast_ref::<Error>() {
            Some(Error::Start { .. }) => {
                return Some("`cellblock doctor` tells what is missing on this machine".into());
            }
            Some(Error::Unsupported(_)) => {
                return Some(
                    "change the option, or choose another executor with --executor".into(),
                );
            }
            Some(Error::Storage { .. }) => {
                return Some(
                    "make room there or check its permissions; CELLBLOCK_CACHE moves the cache"
                        .into(),
                );
            }
            Some(Error::Install { .. }) => {
                return Some("check the names, the network, and `cellblock doctor`".into());
            }
            Some(Error::Lost { .. }) => {
                return Some("run it again; if it stays so, please report it".into());
            }
            _ => {}
        }
    }
    None
}

/// Prints a failure with its causes and its hint to standard error, and gives its exit status.
pub fn tell(error: &anyhow::Error) -> ExitCode {
    let code = code(error);
    // Who closed our output does not read this either, and a person who pressed Ctrl-C knows.
    if code != NO_READER {
        print(
            &error.to_string(),
            error.chain().skip(1).map(ToString::to_string),
            hint(error).as_deref(),
        );
    }
    ExitCode::from(code)
}

/// Prints `error:`, `caused by:` and `hint:` lines to standard error.
pub fn print(message: &str, causes: impl Iterator<Item = String>, hint: Option<&str>) {
    let red = AnsiColor::Red.on_default().bold();
    let mut stderr = anstream::stderr().lock();
    let mut line = |style: Style, word: &str, text: &str| {
        // A standard error that cannot be written leaves nobody to tell.
        let _ = writeln!(stderr, "{style}{word}:{style:#} {}", one_line(text));
    };
    line(red, "error", message);
    let mut last = message.to_owned();
    for cause in causes.filter(|cause| !cause.is_empty()) {
        if !last.contains(&cause) {
            line(Style::new().bold(), "  caused by", &cause);
        }
        last = cause;
    }
    if let Some(hint) = hint {
        line(AnsiColor::Cyan.on_default().bold(), "hint", hint);
    }
}

/// Whether this is the error of writing where nobody reads.
pub fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
