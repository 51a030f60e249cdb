//! Errors as a person sees them: what failed, why, what to do next, and the exit status.

use std::{fmt, io::Write as _, process::ExitCode};

use anstyle::{AnsiColor, Style};
use cellblock_agents::{self as agents, LogOperation, ModelError, sanitize::one_line};
use cellblock_exec::Error;

use crate::exit;

/// An error that knows its exit status and its hint.
#[derive(Debug)]
pub struct CommandError {
    /// The exit status.
    pub code: u8,
    /// The failure, in lower case.
    pub message: String,
    /// The next step.
    pub hint: String,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

/// Returns an error about invalid arguments or input, with a hint.
pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(CommandError {
        code: exit::USAGE,
        message: message.into(),
        hint: hint.into(),
    })
}

/// Ctrl-C, before there was anything to show.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Returns the exit status of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<CommandError>() {
            return error.code;
        }
        if cause.is::<Interrupted>() {
            return exit::INTERRUPTED;
        }
        if is_broken_pipe(cause) {
            return exit::CLOSED_OUTPUT;
        }
        if let Some(agents::Error::Invalid(_) | agents::Error::Log { .. }) = cause.downcast_ref() {
            return exit::USAGE;
        }
        if let Some(ModelError::NoKey { .. }) = cause.downcast_ref() {
            return exit::USAGE;
        }
        match cause.downcast_ref::<Error>() {
            Some(Error::Invalid { .. }) => return exit::USAGE,
            Some(Error::Unsupported(_)) => return exit::REFUSED,
            _ => {}
        }
    }
    exit::INTERNAL
}

/// Returns the next step after an error; `None` if its message is enough.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<CommandError>() {
            return Some(error.hint.clone());
        }
        let hint = cause
            .downcast_ref()
            .and_then(chat_hint)
            .or_else(|| cause.downcast_ref().and_then(model_hint))
            .or_else(|| cause.downcast_ref().and_then(sandbox_hint))?;
        Some(hint.to_owned())
    })
}

fn chat_hint(error: &agents::Error) -> Option<&'static str> {
    match error {
        agents::Error::Log { operation: LogOperation::Create, .. } => {
            Some("give --save the name of a new file in an existing directory")
        }
        agents::Error::Log { .. } => Some(
            "give --resume a chat that this version saved with --save, and describe the same \
             agents",
        ),
        agents::Error::Invalid(_) => Some("docs/chat.md explains agents and chats"),
        _ => None,
    }
}

fn model_hint(error: &ModelError) -> Option<&'static str> {
    match error {
        ModelError::NoKey { .. } => Some(
            "or choose another model with --model; `local` runs on this machine and needs no key",
        ),
        ModelError::Start { .. } => {
            Some("`cellblock doctor` shows which models this machine can use")
        }
        _ => None,
    }
}

fn sandbox_hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Start { .. } => Some("`cellblock doctor` shows what this machine lacks"),
        Error::Unsupported(_) => {
            Some("change the option, or choose another executor with --executor")
        }
        Error::Storage { .. } => Some(
            "free some space or check the permissions; CELLBLOCK_CACHE sets another cache \
             directory",
        ),
        Error::Install { .. } => {
            Some("check the package names, the network, and `cellblock doctor`")
        }
        Error::Lost { .. } => Some("run it again; if it fails again, please report it"),
        _ => None,
    }
}

/// Prints an error with its causes and its hint to standard error, and returns its exit status.
pub fn print_error(error: &anyhow::Error) -> ExitCode {
    let code = code(error);
    // A reader that closed our output does not read this either.
    if code != exit::CLOSED_OUTPUT {
        let causes = error.chain().skip(1).map(ToString::to_string);
        print(&error.to_string(), causes, hint(error).as_deref());
    }
    ExitCode::from(code)
}

/// Prints `error:`, `caused by:` and `hint:` lines to standard error.
pub fn print(message: &str, causes: impl Iterator<Item = String>, hint: Option<&str>) {
    let red = AnsiColor::Red.on_default().bold();
    let mut stderr = anstream::stderr().lock();
    let mut line = |style: Style, label: &str, text: &str| {
        // There is no other place to report that standard error cannot be written.
        let _ = writeln!(stderr, "{style}{label}:{style:#} {}", one_line(text));
    };
    line(red, "error", message);
    let mut previous = message.to_owned();
    for cause in causes.filter(|cause| !cause.is_empty()) {
        // Some errors include their cause in their message.
        if !previous.contains(&cause) {
            line(Style::new().bold(), "  caused by", &cause);
        }
        previous = cause;
    }
    if let Some(hint) = hint {
        line(AnsiColor::Cyan.on_default().bold(), "hint", hint);
    }
}

/// True for the error of writing to a pipe without a reader.
pub fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
