//! The files that a driver sends. The driver may have been made to lie, so names, sizes and the
//! number of files are checked and bounded here.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use cellblock_exec::{
    Artifact, MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, RefusedFile, workspace::artifact_path,
};

use crate::protocol::{DriverMessage, MessageKind};

/// The maximum length of a reason, in characters: that of a symbolic link names its target.
const MAX_REASON_CHARS: usize = 4200;
/// The maximum length of the name of a refused file, in bytes.
const MAX_NAME_BYTES: usize = 4096;

/// Files that arrive in pieces.
#[derive(Debug, Default)]
pub struct ArrivingFiles {
    pub artifacts: Vec<Artifact>,
    pub refused: Vec<RefusedFile>,
    paths: BTreeSet<String>,
    /// The path of the file that is arriving.
    path: Option<String>,
    content: Vec<u8>,
    /// The bytes of all files so far.
    total: u64,
    /// The maximum bytes of all files.
    max_bytes: u64,
    /// The maximum number of files.
    max_files: usize,
}

impl ArrivingFiles {
    /// Accepts at most `max_bytes` in all, and at most `max_files` files.
    pub fn new(max_bytes: u64, max_files: u32) -> Self {
        let max_files = MAX_ARTIFACTS.min(max_files as usize);
        Self { max_bytes, max_files, ..Self::default() }
    }

    /// Handles a message about files.
    pub fn take(&mut self, message: &DriverMessage) {
        match message.kind {
            MessageKind::Artifact => {
                self.complete();
                let name = message.fields.first().cloned().unwrap_or_default();
                match artifact_path(&name) {
                    Ok(path)
                        if self.artifacts.len() < self.max_files && !self.paths.contains(&path) =>
                    {
                        self.path = Some(path);
                    }
                    Ok(path) => self.refuse(path, "more artifacts than the maximum".to_owned()),
                    Err(refused) => self.refuse(refused.path, refused.reason),
                }
            }
            MessageKind::Content if self.path.is_some() => {
                let data = message.field(0);
                let size = (self.content.len() + data.len()) as u64;
                if size > MAX_ARTIFACT_BYTES || self.total + size > self.max_bytes {
                    let path = self.drop_arriving().unwrap_or_default();
                    self.refuse(path, "it is larger than the maximum".to_owned());
                } else {
                    self.content.extend_from_slice(data);
                }
            }
            MessageKind::Refused => {
                let name = message.fields.first().cloned().unwrap_or_default();
                if self.path.as_ref().is_some_and(|path| path.as_bytes() == &name[..]) {
                    // It could not be read to its end.
                    self.drop_arriving();
                }
                self.complete();
                self.refuse(lossy(&name), message.text(1));
            }
            _ => {}
        }
    }

    /// Ends the file that is arriving.
    pub fn complete(&mut self) {
        let content = std::mem::take(&mut self.content);
        let Some(path) = self.path.take() else { return };
        self.total += content.len() as u64;
        self.paths.insert(path.clone());
        self.artifacts.push(Artifact::new(path, Arc::new(content)));
    }

    /// Ends all files when no more messages can come. The file that is arriving is not whole.
    pub fn cut_off(&mut self) {
        if let Some(path) = self.drop_arriving() {
            self.refuse(path, "it arrived incomplete".to_owned());
        }
    }

    fn drop_arriving(&mut self) -> Option<String> {
        self.content = Vec::new();
        self.path.take()
    }

    fn refuse(&mut self, path: String, reason: String) {
        // The list of refused files is bounded too; the first ones show the problem.
        if self.refused.len() < MAX_ARTIFACTS {
            let reason = reason.chars().take(MAX_REASON_CHARS).collect();
            let refused = RefusedFile { path, reason };
            // A directory of version control is refused once, not for each file in it.
            if !self.refused.contains(&refused) {
                self.refused.push(refused);
            }
        }
    }
}

fn lossy(name: &Bytes) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MAX_NAME_BYTES)]).into_owned()
}

#[cfg(test)]
mod tests;
