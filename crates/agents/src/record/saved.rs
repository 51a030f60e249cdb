//! A saved chat, read from its log.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    calls::{PendingCall, ToolRecord},
    cost::Cost,
    format::{Checkpoint, HeaderLine, LOG_VERSION, LogLine, PendingWork, SavedFile},
};
use crate::{
    error::{Error, LogOperation, Result},
    message::Message,
};

/// The content of a log.
#[derive(Debug)]
pub struct SavedChat {
    pub id: String,
    pub agents: Vec<String>,
    pub history: Vec<Message>,
    pub checkpoint: Checkpoint,
    /// The number of messages from before the chat.
    pub before: usize,
    /// True if the message after those is an opening message.
    pub opened: bool,
    pub cost: Cost,
    pub human_input: Vec<String>,
    pub tool_calls: Vec<ToolRecord>,
    /// Work that started after the last message and has no result.
    pub pending_work: Option<PendingWork>,
    /// Calls that code has started since the last message.
    pub started_calls: Vec<PendingCall>,
    /// The started calls that have no record of their end.
    pub open_calls: Vec<PendingCall>,
    /// The length of the log without a partial last line.
    pub valid_bytes: u64,
}

/// Parses a log. `path` is for errors only.
pub fn read(path: &Path, text: &[u8]) -> Result<SavedChat> {
    let invalid = |line: usize, why: String| {
        Error::log(LogOperation::Read, path, format!("line {line}: {why}"))
    };
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
    let first = lines.next().map(|(_, line)| line).unwrap_or_default();
    let header = header(first).map_err(|why| invalid(1, why))?;
    let min_messages = header.before.saturating_add(usize::from(header.opened));
    let mut saved = SavedChat::empty(header);
    saved.valid_bytes = first.len() as u64;
    for (place, line) in lines {
        // A partial last line: the process ended while it wrote.
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        let parsed =
            serde_json::from_slice(whole).map_err(|why| invalid(place + 1, why.to_string()))?;
        saved.add(parsed).map_err(|why| invalid(place + 1, why))?;
        saved.valid_bytes += line.len() as u64;
    }
    if saved.history.len() < min_messages {
        let why = "it ended before its first message; delete the file and run the chat again";
        return Err(Error::log(LogOperation::Resume, path, why));
    }
    Ok(saved)
}

fn header(line: &[u8]) -> Result<HeaderLine, String> {
    let header: HeaderLine =
        serde_json::from_slice(line.strip_suffix(b"\n").unwrap_or_default())
            .map_err(|_| "not a saved chat: the first line is not its header".to_owned())?;
    match header.cellblock_chat {
        LOG_VERSION => Ok(header),
        found => Err(format!(
            "the chat was saved in version {found} of the format, and this program reads version \
             {LOG_VERSION}"
        )),
    }
}

impl SavedChat {
    fn empty(header: HeaderLine) -> Self {
        Self {
            id: header.id,
            agents: header.agents,
            history: Vec::new(),
            checkpoint: Checkpoint::default(),
            before: header.before,
            opened: header.opened,
            cost: Cost::default(),
            human_input: Vec::new(),
            tool_calls: Vec::new(),
            pending_work: None,
            started_calls: Vec::new(),
            open_calls: Vec::new(),
            valid_bytes: 0,
        }
    }

    fn add(&mut self, line: LogLine) -> Result<(), String> {
        match line {
            LogLine::Begun(work) => self.pending_work = Some(work),
            LogLine::Spent(cost) => self.cost = cost,
            LogLine::Human(text) => self.human_input.push(text),
            LogLine::Calling(call) => {
                self.started_calls.push(call.clone());
                self.open_calls.push(call);
            }
            LogLine::Tool(record) => {
                let ends = |open: &PendingCall| record.from_code && open.matches(&record);
                if let Some(place) = self.open_calls.iter().position(ends) {
                    self.open_calls.remove(place);
                }
                self.tool_calls.push(record);
            }
            LogLine::Stopped(_) => {}
            LogLine::Message { mut message, auto_replies, sees_from, code_done, human, files } => {
                restore_files(&mut message, files)?;
                self.history.push(message);
                self.checkpoint = Checkpoint { auto_replies, sees_from, code_done };
                self.human_input.extend(human);
                self.pending_work = None;
                self.started_calls.clear();
                self.open_calls.clear();
            }
        }
        Ok(())
    }
}

/// Puts the saved contents into the artifacts of a message.
fn restore_files(message: &mut Message, files: Vec<SavedFile>) -> Result<(), String> {
    for file in files {
        let content = BASE64_STANDARD
            .decode(file.content)
            .map_err(|why| format!("the file {}: {why}", file.path))?;
        if let Some(artifact) =
            message.artifacts.iter_mut().find(|artifact| artifact.path == file.path)
        {
            artifact.content = Arc::new(content);
        }
    }
    Ok(())
}
