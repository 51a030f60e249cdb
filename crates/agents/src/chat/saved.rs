//! A saved chat, read back from its log.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::log::{Begun, Calling, Header, Kept, Line, SavedFile, VERSION, error};
use crate::{cost::Cost, error::Result, message::Message, tool::ToolRecord};

/// What a log tells.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) id: String,
    pub(super) agents: Vec<String>,
    pub(super) history: Vec<Message>,
    pub(super) kept: Kept,
    /// How many messages of the history came before the chat.
    pub(super) before: usize,
    /// Whether a first message follows after them.
    pub(super) opened: bool,
    pub(super) cost: Cost,
    pub(super) human_input: Vec<String>,
    pub(super) tool_calls: Vec<ToolRecord>,
    pub(super) interrupted: Option<Begun>,
    /// Calls out of code that began since the last message.
    pub(super) began: Vec<Calling>,
    /// Those of them of which nothing more is known.
    pub(super) open: Vec<Calling>,
    /// The length of what makes sense, in bytes.
    pub(super) length: u64,
}

/// Reads a log.
pub(super) fn read(path: &Path, text: &[u8]) -> Result<Saved> {
    let makes_no_sense =
        |number: usize, why: String| error("read", path, format!("line {number}: {why}"));
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
    let first = lines.next().map(|(_, line)| line).unwrap_or_default();
    let header: Header = serde_json::from_slice(first.strip_suffix(b"\n").unwrap_or_default())
        .map_err(|_| {
            makes_no_sense(1, "this is no saved chat: its first line does not say so".to_owned())
        })?;
    if header.cellblock_chat != VERSION {
        let found = header.cellblock_chat;
        let why = format!(
            "the chat was saved in version {found} of the format, and this program reads version {VERSION}"
        );
        return Err(makes_no_sense(1, why));
    }
    let mut saved = Saved {
        id: header.id,
        agents: header.agents,
        history: Vec::new(),
        kept: Kept::default(),
        before: header.before,
        opened: header.opened,
        cost: Cost::default(),
        human_input: Vec::new(),
        tool_calls: Vec::new(),
        interrupted: None,
        began: Vec::new(),
        open: Vec::new(),
        length: first.len() as u64,
    };
    for (place, line) in lines {
        // The process ended while it wrote this one.
        let Some(whole) = line.strip_suffix(b"\n") else { break };
        match serde_json::from_slice(whole)
            .map_err(|why| makes_no_sense(place + 1, why.to_string()))?
        {
            Line::Begun(begun) => saved.interrupted = Some(begun),
            Line::Spent(cost) => saved.cost = cost,
            Line::Human(text) => saved.human_input.push(text),
            Line::Calling(calling) => {
                saved.began.push(calling.clone());
                saved.open.push(calling);
            }
            Line::Tool(record) => {
                if let Some(over) =
                    saved.open.iter().position(|open| record.from_code && open.is(&record))
                {
                    saved.open.remove(over);
                }
                saved.tool_calls.push(record);
            }
            Line::Stopped(_) => {}
            Line::Message { mut message, auto_replies, sees_from, code_done, human, files } => {
                restore(&mut message, files).map_err(|why| makes_no_sense(place + 1, why))?;
                saved.history.push(message);
                saved.kept = Kept { auto_replies, sees_from, code_done };
                saved.human_input.extend(human);
                saved.interrupted = None;
                saved.began.clear();
                saved.open.clear();
            }
        }
        saved.length += line.len() as u64;
    }
    if saved.history.len() < header.before.saturating_add(usize::from(header.opened)) {
        let why = "it ended before its first message: nothing was said; delete the file and run the chat anew";
        return Err(error("resume", path, why));
    }
    Ok(saved)
}

impl Calling {
    fn is(&self, record: &ToolRecord) -> bool {
        (&self.agent, &self.name, &self.arguments)
            == (&record.agent, &record.name, &record.arguments)
    }
}

fn restore(message: &mut Message, files: Vec<SavedFile>) -> Result<(), String> {
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
