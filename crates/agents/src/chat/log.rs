//! A chat on disk: one line of JSON for each thing that happened, written when it happens.
//!
//! ```text
//! {"cellblock_chat":1,"id":"…","agents":["user","assistant"]}
//! {"message":{"name":"user","content":"…"},"auto_replies":[0,0]}
//! {"spent":{…}}
//! {"begun":"code"}
//! {"message":{…},"auto_replies":[1,1],"files":[{"path":"figure-1.png","content":"…base64…"}]}
//! {"stopped":{"reason":"max_turns","turns":2}}
//! ```
//!
//! A chat costs as much to save as it grows. A last line that is cut off, because the process ended while it wrote, is left
//! out; a line that makes no sense before it is an error. `begun` without a message after it is how a chat that is resumed
//! knows what must not be done a second time. Lines reach the operating system, not the disk: they outlive the process, not a
//! failure of power.

use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{Chat, StopReason};
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

/// What must not be done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Begun {
    /// Code of the last message with code.
    Code,
    /// Tool calls of the last message.
    Tools,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    cellblock_chat: u32,
    id: String,
    agents: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Begun(Begun),
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
        files: Vec<SavedFile>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedFile {
    path: String,
    content: String,
}

/// A log that is written.
pub(super) struct Log {
    file: File,
    path: PathBuf,
    spent: Cost,
}

/// What a log tells.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) id: String,
    pub(super) agents: Vec<String>,
    pub(super) history: Vec<Message>,
    pub(super) auto_replies: Vec<u32>,
    pub(super) cost: Cost,
    pub(super) human_input: Vec<String>,
    pub(super) tool_calls: Vec<ToolRecord>,
    pub(super) interrupted: Option<Begun>,
    /// The length of what makes sense, in bytes.
    pub(super) length: u64,
}

fn error(doing: &'static str, path: &Path, source: impl Into<cellblock_exec::Cause>) -> Error {
    Error::Log { doing, path: path.display().to_string(), source: source.into() }
}

impl Log {
    /// Begins a log. What is at `path` is never overwritten.
    pub(super) fn create(path: &Path, chat: &Chat, id: &str) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // What is said in a chat is nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| error("make", path, source))?;
        let mut log = Self { file, path: path.to_owned(), spent: Cost::default() };
        let agents = chat.agents.iter().map(|agent| agent.name.clone()).collect();
        log.write(&Header { cellblock_chat: VERSION, id: id.to_owned(), agents })?;
        Ok(log)
    }

    /// Goes on with a log, after the first `length` bytes.
    pub(super) fn open(path: &Path, length: u64) -> Result<Self> {
        let open = || {
            let mut file = OpenOptions::new().write(true).open(path)?;
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|source: std::io::Error| error("write", path, source))?;
        Ok(Self { file, path: path.to_owned(), spent: Cost::default() })
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line).map_err(|source| error("write", &self.path, source))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|source| error("write", &self.path, source))
    }

    pub(super) fn message(&mut self, message: &Message, auto_replies: &[u32]) -> Result<()> {
        let small = |artifact: &&cellblock_exec::Artifact| artifact.bytes <= MAX_FILE_BYTES;
        let files = message.artifacts.iter().filter(small).map(|artifact| SavedFile {
            path: artifact.path.clone(),
            content: BASE64_STANDARD.encode(artifact.content.as_slice()),
        });
        let files = files.collect();
        self.write(&Line::Message { message: message.clone(), auto_replies: auto_replies.to_vec(), files })
    }

    /// Saves what was spent, if that is news.
    pub(super) fn spent(&mut self, cost: &Cost) -> Result<()> {
        if *cost == self.spent {
            return Ok(());
        }
        self.spent.clone_from(cost);
        self.write(&Line::Spent(cost.clone()))
    }

    pub(super) fn human(&mut self, text: &str) -> Result<()> {
        self.write(&Line::Human(text.to_owned()))
    }

    pub(super) fn tool(&mut self, record: &ToolRecord) -> Result<()> {
        self.write(&Line::Tool(record.clone()))
    }

    pub(super) fn begun(&mut self, begun: Begun) -> Result<()> {
        self.write(&Line::Begun(begun))
    }

    pub(super) fn stopped(&mut self, reason: &StopReason) -> Result<()> {
        self.write(&Line::Stopped(reason.clone()))
    }
}

/// Reads a log.
pub(super) fn read(path: &Path) -> Result<Saved> {
    let text = std::fs::read(path).map_err(|source| error("read", path, source))?;
    let makes_no_sense = |number: usize, why: String| error("read", path, format!("line {number}: {why}"));
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
    let first = lines.next().map(|(_, line)| line).unwrap_or_default();
    let header: Header = serde_json::from_slice(first)
        .map_err(|_| makes_no_sense(1, "this is no saved chat: its first line does not say so".to_owned()))?;
    if header.cellblock_chat != VERSION {
        let found = header.cellblock_chat;
        let why =
            format!("the chat was saved in version {found} of the format, and this program reads version {VERSION}");
        return Err(makes_no_sense(1, why));
    }
    let mut saved = Saved {
        id: header.id,
        agents: header.agents,
        history: Vec::new(),
        auto_replies: Vec::new(),
        cost: Cost::default(),
        human_input: Vec::new(),
        tool_calls: Vec::new(),
        interrupted: None,
        length: first.len() as u64,
    };
    for (place, line) in lines {
        // The process ended while it wrote this one.
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        match serde_json::from_slice(whole).map_err(|why| makes_no_sense(place + 1, why.to_string()))? {
            Line::Begun(begun) => saved.interrupted = Some(begun),
            Line::Spent(cost) => saved.cost = cost,
            Line::Human(text) => saved.human_input.push(text),
            Line::Tool(record) => saved.tool_calls.push(record),
            Line::Stopped(_) => {}
            Line::Message { mut message, auto_replies, files } => {
                restore(&mut message, files).map_err(|why| makes_no_sense(place + 1, why))?;
                saved.history.push(message);
                saved.auto_replies = auto_replies;
                saved.interrupted = None;
            }
        }
        saved.length += line.len() as u64;
    }
    Ok(saved)
}

fn restore(message: &mut Message, files: Vec<SavedFile>) -> Result<(), String> {
    for file in files {
        let content = BASE64_STANDARD.decode(file.content).map_err(|why| format!("the file {}: {why}", file.path))?;
        if let Some(artifact) = message.artifacts.iter_mut().find(|artifact| artifact.path == file.path) {
            artifact.content = Arc::new(content);
        }
    }
    Ok(())
}
