//! Files that a driver hands out. It may have been made to lie: what it sends is checked and bounded.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use cellblock_exec::{
    Artifact, MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, RefusedFile, workspace::artifact_path,
};

use crate::{protocol, wire::Message};

/// The longest reason that is kept, in characters: that of a symbolic link names where it leads.
const LONGEST_REASON: usize = 4200;

/// Files that arrive.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) refused: Vec<RefusedFile>,
    paths: BTreeSet<String>,
    /// The one that is arriving.
    path: Option<String>,
    content: Vec<u8>,
    /// Bytes of all of them so far.
    total: u64,
    /// The most bytes of all of them.
    most: u64,
    /// The most files.
    most_files: usize,
}

impl Arriving {
    /// No more than `most` bytes are taken in all, and no more than `files` files.
    pub(crate) fn new(most: u64, files: u32) -> Self {
        Self { most, most_files: MAX_ARTIFACTS.min(files as usize), ..Self::default() }
    }

    /// Takes a message about files.
    pub(crate) fn take(&mut self, message: &Message) {
        match message.kind {
            protocol::ARTIFACT => {
                self.complete();
                let name = message.fields.first().cloned().unwrap_or_default();
                match artifact_path(&name) {
                    Ok(path)
                        if self.artifacts.len() < self.most_files
                            && !self.paths.contains(&path) =>
                    {
                        self.path = Some(path);
                    }
                    Ok(path) => self.refuse(path, "one artifact too many".to_owned()),
                    Err(refused) => self.refuse(refused.path, refused.reason),
                }
            }
            protocol::CONTENT if self.path.is_some() => {
                let data = message.field(0);
                let size = (self.content.len() + data.len()) as u64;
                if size > MAX_ARTIFACT_BYTES || self.total + size > self.most {
                    let path = self.drop_arriving().unwrap_or_default();
                    self.refuse(path, "it is larger than it may be".to_owned());
                } else {
                    self.content.extend_from_slice(data);
                }
            }
            protocol::REFUSED => {
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
    pub(crate) fn complete(&mut self) {
        let content = std::mem::take(&mut self.content);
        let Some(path) = self.path.take() else { return };
        self.total += content.len() as u64;
        self.paths.insert(path.clone());
        self.artifacts.push(Artifact::new(path, Arc::new(content)));
    }

    /// Ends the files when no more can come: the one that is arriving has not come whole.
    pub(crate) fn cut_off(&mut self) {
        if let Some(path) = self.drop_arriving() {
            self.refuse(path, "it did not arrive whole".to_owned());
        }
    }

    fn drop_arriving(&mut self) -> Option<String> {
        self.content = Vec::new();
        self.path.take()
    }

    fn refuse(&mut self, path: String, reason: String) {
        // The list of refusals is bounded too; the first ones tell the story.
        if self.refused.len() < MAX_ARTIFACTS {
            let reason = reason.chars().take(LONGEST_REASON).collect();
            let refused = RefusedFile { path, reason };
            // A directory of version control is refused once, not for each file in it.
            if !self.refused.contains(&refused) {
                self.refused.push(refused);
            }
        }
    }
}

fn lossy(name: &Bytes) -> String {
    String::from_utf8_lossy(&name[..name.len().min(4096)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, fields: &[&[u8]]) -> Message {
        Message { kind, fields: fields.iter().map(|field| Bytes::copy_from_slice(field)).collect() }
    }

    #[test]
    fn files_arrive_in_pieces() {
        use protocol::{ARTIFACT, CONTENT};
        let mut arriving = Arriving::new(1 << 20, u32::MAX);
        for (kind, field) in [
            (ARTIFACT, b"a.txt".as_slice()),
            (CONTENT, b"one"),
            (CONTENT, b"two"),
            (ARTIFACT, b"d/empty"),
        ] {
            arriving.take(&message(kind, &[field]));
        }
        arriving.complete();
        let paths: Vec<_> =
            arriving.artifacts.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
        assert_eq!(paths, [("a.txt", 6), ("d/empty", 0)]);
        assert_eq!(*arriving.artifacts[0].content, b"onetwo");
    }

    #[test]
    fn half_a_file_is_no_artifact() {
        use protocol::{ARTIFACT, CONTENT, REFUSED};
        let mut arriving = Arriving::new(1 << 20, u32::MAX);
        for (kind, fields) in [
            (ARTIFACT, [b"whole".as_slice(), b""]),
            (CONTENT, [b"all".as_slice(), b""]),
            (REFUSED, [b"another".as_slice(), b"a pipe"]),
            (ARTIFACT, [b"half".as_slice(), b""]),
            (CONTENT, [b"some".as_slice(), b""]),
            (REFUSED, [b"half".as_slice(), b"cannot be read"]),
            (ARTIFACT, [b"last".as_slice(), b""]),
            (CONTENT, [b"some".as_slice(), b""]),
        ] {
            arriving.take(&message(kind, &fields));
        }
        // The driver has ended here.
        arriving.cut_off();
        arriving.complete();
        let paths: Vec<_> = arriving.artifacts.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["whole"]);
        let refused: Vec<_> = arriving.refused.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(refused, ["another", "half", "last"]);
    }

    #[test]
    fn names_that_no_host_takes_are_refused_once_and_with_their_reasons() {
        let mut arriving = Arriving::new(1 << 20, u32::MAX);
        for name in [".git/config", ".git/objects/x", "a\\b", "a:b.csv", "tab\t", "HEAD"] {
            arriving.take(&message(protocol::ARTIFACT, &[name.as_bytes()]));
            arriving.take(&message(protocol::CONTENT, &[b"content"]));
        }
        arriving.complete();
        let taken: Vec<_> = arriving.artifacts.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(taken, ["a:b.csv"]);
        assert_eq!(*arriving.artifacts[0].content, b"content");
        let refused: Vec<_> = arriving.refused.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(refused, [".git", "a\\b", "tab\t", "HEAD"]);
        assert!(arriving.refused[1].reason.contains("backslash"), "{:?}", arriving.refused);
    }

    #[test]
    fn a_driver_that_lies_gains_nothing() {
        let mut arriving = Arriving::new(10, u32::MAX);
        for name in ["/etc/passwd", "../up", "a/../../b", "", ".", "a//b", "nul\0", "same", "same"]
        {
            arriving.take(&message(protocol::ARTIFACT, &[name.as_bytes()]));
        }
        arriving.take(&message(protocol::ARTIFACT, &[b"\xff\xfe"]));
        arriving.take(&message(protocol::CONTENT, &[b"belongs to none"]));
        arriving.take(&message(protocol::ARTIFACT, &[b"large"]));
        arriving.take(&message(protocol::CONTENT, &[b"more than ten bytes"]));
        arriving.take(&message(protocol::CONTENT, &[b"and more"]));
        arriving.complete();
        let paths: Vec<_> = arriving.artifacts.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["same"]);
        assert_eq!(arriving.refused.len(), 10, "{:?}", arriving.refused);
    }
}
