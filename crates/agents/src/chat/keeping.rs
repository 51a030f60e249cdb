//! What is kept of a chat under way with each of its messages, and the files that its code made.

use std::collections::BTreeMap;

use cellblock_exec::{Artifact, InputFile, workspace::artifact_path};

use super::{log::Kept, running::Running};
use crate::message::Message;

impl Running<'_> {
    /// What is saved with a message.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            auto_replies: self.states.iter().map(|state| state.auto_replies).collect(),
            sees_from: self.states.iter().map(|state| state.sees_from).collect(),
            code_done: self.code_done,
        }
    }
}

/// The files that code of an agent made so far, in their latest versions. Files that are too large
/// to be kept are not among them, nor those of a log from elsewhere whose names no workspace takes.
pub(super) fn files_made(history: &[Message], agent: &str) -> Vec<InputFile> {
    let own = history.iter().filter(|message| message.name == agent);
    let whole = |artifact: &&Artifact| {
        artifact.content.len() as u64 == artifact.bytes
            && artifact_path(artifact.path.as_bytes()).is_ok()
    };
    let files: BTreeMap<_, _> = own
        .flat_map(|message| message.artifacts.iter().filter(whole))
        .map(|artifact| (artifact.path.clone(), artifact.content.clone()))
        .collect();
    files.into_iter().map(|(path, content)| InputFile { path, content }).collect()
}
