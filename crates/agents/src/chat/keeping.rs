//! What is kept of a chat under way: in its result, and in its log if it has one.

use std::collections::BTreeMap;

use cellblock_exec::{Artifact, InputFile};

use super::{
    log::{Begun, Kept},
    running::Running,
};
use crate::{error::Result, message::Message, tool::ToolRecord};

impl Running<'_> {
    /// What is saved with a message.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            auto_replies: self.states.iter().map(|state| state.auto_replies).collect(),
            sees_from: self.states.iter().map(|state| state.sees_from).collect(),
            code_done: self.code_done,
        }
    }

    /// Saves that something begins that must not be done twice.
    pub(super) fn begin(&mut self, begun: Begun) -> Result<()> {
        match &mut self.log {
            Some(log) => log.begun(begun),
            None => Ok(()),
        }
    }

    /// Keeps what a person said.
    pub(super) fn heard(&mut self, text: &str) {
        self.human_input.push(text.to_owned());
        if let Some(log) = &mut self.log {
            log.human(text);
        }
    }

    /// Keeps tool calls.
    pub(super) fn called(&mut self, records: Vec<ToolRecord>) -> Result<()> {
        if let Some(log) = &mut self.log {
            records.iter().try_for_each(|record| log.tool(record))?;
        }
        self.tool_calls.extend(records);
        Ok(())
    }
}

/// The files that code of an agent made so far, in their latest versions; what is too large to be kept is not among them.
pub(super) fn files_made(history: &[Message], agent: &str) -> Vec<InputFile> {
    let own = history.iter().filter(|message| message.name == agent);
    let whole = |artifact: &&Artifact| artifact.content.len() as u64 == artifact.bytes;
    let files: BTreeMap<_, _> = own
        .flat_map(|message| message.artifacts.iter().filter(whole))
        .map(|artifact| (artifact.path.clone(), artifact.content.clone()))
        .collect();
    files.into_iter().map(|(path, content)| InputFile { path, content }).collect()
}
