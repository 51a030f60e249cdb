//! The log of a chat: a file in the format of `format.rs`, locked while a chat writes it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cellblock_exec::Artifact;
use serde::Serialize;

use super::{
    calls::{PendingCall, ToolRecord},
    cost::Cost,
    format::{Checkpoint, HeaderLine, LOG_VERSION, LogLine, PendingWork, SavedFile, is_zero},
    result::StopReason,
    saved::{self, SavedChat},
};
use crate::{
    error::{Error, LogOperation, Result},
    message::Message,
};

/// The maximum size of an artifact that is saved with a chat, in bytes. Of a larger one only the
/// name is saved, and a resumed chat lacks the file.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

const EXISTS: &str = "the file exists; resume the chat, or choose another file";

/// A log that is open for writing.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    spent: Cost,
    /// Human input that no line contains yet.
    human_input: Vec<String>,
}

/// The facts about a chat at the head of its log.
#[derive(Debug)]
pub struct LogHeader<'h> {
    /// The id of the chat.
    pub id: &'h str,
    /// The names of its agents.
    pub agents: Vec<String>,
    /// The number of messages from before the chat.
    pub before: usize,
    /// True if the chat starts with an opening message.
    pub opened: bool,
}

impl Log {
    /// Creates a log. An existing file is never overwritten.
    pub fn create(path: &Path, header: LogHeader<'_>) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // A chat is private.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => Error::log(LogOperation::Create, path, EXISTS),
            _ => Error::log(LogOperation::Create, path, source),
        })?;
        lock(&file, path)?;
        let mut log =
            Self { file, path: path.to_owned(), spent: Cost::default(), human_input: Vec::new() };
        let LogHeader { id, agents, before, opened } = header;
        let header =
            HeaderLine { cellblock_chat: LOG_VERSION, id: id.to_owned(), agents, before, opened };
        log.write(&header)?;
        Ok(log)
    }

    /// Opens an existing log, cuts off a partial last line, and continues after it.
    pub fn open(path: &Path) -> Result<(Self, SavedChat)> {
        let read = |source: std::io::Error| Error::log(LogOperation::Read, path, source);
        let write = |source: std::io::Error| Error::log(LogOperation::Write, path, source);
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(read)?;
        lock(&file, path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(read)?;
        let saved = saved::read(path, &text)?;
        file.set_len(saved.valid_bytes).map_err(write)?;
        file.seek(SeekFrom::End(0)).map_err(write)?;
        let spent = saved.cost.clone();
        Ok((Self { file, path: path.to_owned(), spent, human_input: Vec::new() }, saved))
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)
            .map_err(|source| Error::log(LogOperation::Write, &self.path, source))?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .map_err(|source| Error::log(LogOperation::Write, &self.path, source))
    }

    pub fn message(&mut self, message: &Message, checkpoint: Checkpoint) -> Result<()> {
        let small = |artifact: &&Artifact| artifact.bytes <= MAX_FILE_BYTES;
        let files = message.artifacts.iter().filter(small).map(|artifact| SavedFile {
            path: artifact.path.clone(),
            content: BASE64_STANDARD.encode(artifact.content.as_slice()),
        });
        let files = files.collect();
        let Checkpoint { mut auto_replies, mut sees_from, code_done } = checkpoint;
        if auto_replies.iter().all(|number| *number == 0) {
            auto_replies.clear();
        }
        if sees_from.iter().all(is_zero) {
            sees_from.clear();
        }
        let human = std::mem::take(&mut self.human_input);
        self.write(&LogLine::Message {
            message: message.clone(),
            auto_replies,
            sees_from,
            code_done,
            human,
            files,
        })
    }

    /// Saves the cost, if it has changed.
    pub fn cost(&mut self, cost: &Cost) -> Result<()> {
        if *cost == self.spent {
            return Ok(());
        }
        self.write(&LogLine::Spent(cost.clone()))?;
        self.spent.clone_from(cost);
        Ok(())
    }

    /// Keeps human input for the line of the next message.
    pub fn human_input(&mut self, text: &str) {
        self.human_input.push(text.to_owned());
    }

    /// Saves human input of a nested chat.
    pub fn nested_human_input(&mut self, text: &str) -> Result<()> {
        self.write(&LogLine::Human(text.to_owned()))
    }

    pub fn work_start(&mut self, work: PendingWork) -> Result<()> {
        self.write(&LogLine::Begun(work))
    }

    pub fn call_start(&mut self, call: &PendingCall) -> Result<()> {
        self.write(&LogLine::Calling(call.clone()))
    }

    pub fn tool_call(&mut self, record: &ToolRecord) -> Result<()> {
        self.write(&LogLine::Tool(record.clone()))
    }

    pub fn stop(&mut self, reason: &StopReason) -> Result<()> {
        for text in std::mem::take(&mut self.human_input) {
            self.write(&LogLine::Human(text))?;
        }
        self.write(&LogLine::Stopped(reason.clone()))
    }
}

/// Checks that a log can be created, as far as that is possible without creating it.
///
/// # Errors
/// [`Error::Log`] when the file exists, or its directory does not.
pub fn check_new_log(path: &Path) -> Result<()> {
    if path.exists() {
        return Err(Error::log(LogOperation::Create, path, EXISTS));
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        Some(_) => Err(Error::log(LogOperation::Create, path, "the directory does not exist")),
        None => Ok(()),
    }
}

/// Keeps two processes from continuing one chat at the same time.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Error::log(LogOperation::Write, path, "another process is continuing this chat"))
        }
        // A file system without locks has none to offer.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
