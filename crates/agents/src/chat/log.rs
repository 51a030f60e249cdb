//! A chat on disk: one line of JSON for each thing that happened, written when it happens.
//!
//! ```text
//! {"cellblock_chat":1,"id":"…","agents":["user","assistant"],"opened":true}
//! {"message":{"name":"user","content":"…"}}
//! {"spent":{…}}
//! {"message":{"name":"assistant","content":"…"},"auto_replies":[0,1]}
//! {"begun":{"code":"user"}}
//! {"calling":{"agent":"user","name":"pay","arguments":"{…}"}}
//! {"tool":{"agent":"user","name":"pay",…}}
//! {"message":{…},"auto_replies":[1,1],"code_done":2,"files":[{"path":"figure-1.png","content":"…base64…"}]}
//! {"stopped":{"reason":"max_turns","turns":2}}
//! ```
//!
//! A chat costs as much to save as it grows. A last line that is cut off, because the process ended while it wrote, is left
//! out; a line that makes no sense before it is an error. `begun` without a message after it is how a chat that is resumed
//! knows what must not be done a second time, and `calling` without a `tool` after it, how it knows of a call out of code that
//! may have had its effect. What is spent, called and said in chats within this one is written here too, when it happens. Lines reach the operating system, not the disk: they outlive the process, not a
//! failure of power.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    Chat, StopReason,
    saved::{self, Saved},
};
use crate::{
    cost::Cost,
    error::{Error, Result},
    message::Message,
    tool::ToolRecord,
};

/// The version of the format. A log of another one is refused.
pub const VERSION: u32 = 1;

/// The largest file that is saved with a chat, in bytes; what is larger is only named. A chat that is resumed lacks it.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// What must not be done twice, and the agent that does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Begun {
    /// Code of the newest message with code.
    Code(String),
    /// Tool calls of the last message.
    Tools(String),
    /// Nested chats about the last message.
    Nested(String),
}

impl Begun {
    /// The agent that does it.
    pub(super) fn agent(&self) -> &str {
        match self {
            Begun::Code(agent) | Begun::Tools(agent) | Begun::Nested(agent) => agent,
        }
    }
}

/// A call that running code is about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calling {
    /// The agent that runs the code.
    pub(crate) agent: String,
    /// The tool.
    pub(crate) name: String,
    /// The arguments, as the record of the call will have them.
    pub(crate) arguments: String,
}

/// What is kept of a chat with each message. Lists are in the order of the agents; what is 0 for all is an empty list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// How often each agent answered by itself in a row.
    pub(super) auto_replies: Vec<u32>,
    /// From where on each agent sees the history.
    pub(super) sees_from: Vec<usize>,
    /// Up to where code of the history was run, or is no longer to be.
    pub(super) code_done: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) cellblock_chat: u32,
    pub(super) id: String,
    pub(super) agents: Vec<String>,
    /// How many messages follow that came before the chat.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) before: usize,
    /// Whether a first message follows after them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) opened: bool,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Begun(Begun),
    Calling(Calling),
    Spent(Cost),
    Human(String),
    Tool(ToolRecord),
    Stopped(StopReason),
    #[serde(untagged)]
    Message {
        message: Message,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        auto_replies: Vec<u32>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sees_from: Vec<usize>,
        #[serde(default, skip_serializing_if = "is_zero")]
        code_done: usize,
        /// What a person said since the message before: with the message, so that neither is saved without the other.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        human: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<SavedFile>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedFile {
    pub(super) path: String,
    pub(super) content: String,
}

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    spent: Cost,
    /// What a person said and no line tells yet.
    heard: Vec<String>,
}

pub(super) fn error(
    doing: &'static str,
    path: &Path,
    source: impl Into<cellblock_exec::Cause>,
) -> Error {
    Error::Log { doing, path: path.display().to_string(), source: source.into() }
}

impl Log {
    /// Begins a log, of a chat with or without a first message to come. What is at `path` is never overwritten.
    pub(super) fn create(path: &Path, chat: &Chat, id: &str, opened: bool) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // What is said in a chat is nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => error("make", path, THERE),
            _ => error("make", path, source),
        })?;
        lock(&file, path)?;
        let mut log =
            Self { file, path: path.to_owned(), spent: Cost::default(), heard: Vec::new() };
        let agents = chat.agents.iter().map(|agent| agent.name.clone()).collect();
        let before = chat.history.len();
        log.write(&Header { cellblock_chat: VERSION, id: id.to_owned(), agents, before, opened })?;
        Ok(log)
    }

    /// Goes on with a log, as far as it makes sense.
    pub(super) fn open(path: &Path) -> Result<(Self, Saved)> {
        let failed = |source: std::io::Error| error("write", path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| error("read", path, source))?;
        lock(&file, path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|source| error("read", path, source))?;
        let saved = saved::read(path, &text)?;
        file.set_len(saved.length).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let spent = saved.cost.clone();
        Ok((Self { file, path: path.to_owned(), spent, heard: Vec::new() }, saved))
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text =
            serde_json::to_vec(line).map_err(|source| error("write", &self.path, source))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|source| error("write", &self.path, source))
    }

    pub(super) fn message(&mut self, message: &Message, kept: Kept) -> Result<()> {
        let small = |artifact: &&cellblock_exec::Artifact| artifact.bytes <= MAX_FILE_BYTES;
        let files = message.artifacts.iter().filter(small).map(|artifact| SavedFile {
            path: artifact.path.clone(),
            content: BASE64_STANDARD.encode(artifact.content.as_slice()),
        });
        let files = files.collect();
        let Kept { mut auto_replies, mut sees_from, code_done } = kept;
        if auto_replies.iter().all(|number| *number == 0) {
            auto_replies.clear();
        }
        if sees_from.iter().all(is_zero) {
            sees_from.clear();
        }
        let human = std::mem::take(&mut self.heard);
        self.write(&Line::Message {
            message: message.clone(),
            auto_replies,
            sees_from,
            code_done,
            human,
            files,
        })
    }

    /// Saves what was spent, if that is news.
    pub(super) fn spent(&mut self, cost: &Cost) -> Result<()> {
        if *cost == self.spent {
            return Ok(());
        }
        self.write(&Line::Spent(cost.clone()))?;
        self.spent.clone_from(cost);
        Ok(())
    }

    /// Keeps what a person said, for the next line.
    pub(super) fn human(&mut self, text: &str) {
        self.heard.push(text.to_owned());
    }

    /// Saves what a person said in a chat within this one.
    pub(super) fn said_within(&mut self, text: &str) -> Result<()> {
        self.write(&Line::Human(text.to_owned()))
    }

    pub(super) fn calling(&mut self, calling: &Calling) -> Result<()> {
        self.write(&Line::Calling(calling.clone()))
    }

    pub(super) fn tool(&mut self, record: &ToolRecord) -> Result<()> {
        self.write(&Line::Tool(record.clone()))
    }

    pub(super) fn begun(&mut self, begun: Begun) -> Result<()> {
        self.write(&Line::Begun(begun))
    }

    pub(super) fn stopped(&mut self, reason: &StopReason) -> Result<()> {
        for text in std::mem::take(&mut self.heard) {
            self.write(&Line::Human(text))?;
        }
        self.write(&Line::Stopped(reason.clone()))
    }
}

const THERE: &str = "there is a file already; resume it, or name another one";

/// Whether a log can be made at `path`, as far as it can be told without making it.
///
/// # Errors
/// [`Error::Log`] when there is a file already, or no such directory.
pub(crate) fn can_be_made(path: &Path) -> Result<()> {
    if path.exists() {
        return Err(error("make", path, THERE));
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        Some(_) => Err(error("make", path, "there is no such directory")),
        None => Ok(()),
    }
}

/// Keeps others from going on with the same chat at the same time.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(error("write", path, "somebody else goes on with this chat right now"))
        }
        // A file system without locks has none to ask for.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
