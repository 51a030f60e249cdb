//! Artifacts: the files that a program has created or changed in its workspace.

use cellblock_exec::{
    Artifact, MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, RefusedFile, workspace::artifact_path,
};

use super::{
    inode::{Inode, InodeKind, Node},
    path::MAX_PATH,
    tree::Fs,
};

/// The path of the workspace in the guest, the directory in which a program starts.
pub const WORKSPACE: &str = "/workspace";

/// The files that are new or changed, and those that are refused as artifacts.
#[derive(Debug, Default)]
pub struct CollectedFiles {
    pub artifacts: Vec<Artifact>,
    pub refused: Vec<RefusedFile>,
}

impl Fs {
    /// Returns the files of the workspace that changed after `since`, sorted by path.
    pub fn changed_since(&self, since: u64) -> CollectedFiles {
        let mut collected = CollectedFiles::default();
        if self.changes == since {
            return collected;
        }
        let Ok(workspace) = self.lookup(Node::ROOT, WORKSPACE, true) else { return collected };
        // Not recursive: a guest can nest directories deeper than the host's stack.
        let mut directories = vec![(String::new(), workspace, since)];
        while let Some((prefix, directory, since)) = directories.pop() {
            let Some(Inode { kind: InodeKind::Directory { entries, .. }, .. }) =
                self.inode(directory)
            else {
                continue;
            };
            for (name, node) in entries.iter() {
                let Some(inode) = self.inode(node) else { continue };
                let path = format!("{prefix}{name}");
                match &inode.kind {
                    // A guest can create such paths step by step. Many of them would fill the
                    // host's memory, and no host could write them.
                    _ if path.len() > MAX_PATH => {
                        collected
                            .refuse(name.to_owned(), format!("a path of {} bytes", path.len()));
                    }
                    InodeKind::Directory { .. } => {
                        // The files in a directory that was moved here have new paths.
                        let since = if inode.changed > since { 0 } else { since };
                        directories.push((format!("{path}/"), node, since));
                    }
                    _ if inode.changed <= since => {}
                    kind => collected.take(path, kind),
                }
            }
        }
        collected.artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        collected.refused.sort_by(|a, b| a.path.cmp(&b.path));
        collected
    }
}

impl CollectedFiles {
    fn take(&mut self, path: String, kind: &InodeKind) {
        let reason = match kind {
            InodeKind::File { content } if content.0.len() as u64 > MAX_ARTIFACT_BYTES => {
                format!(
                    "{} bytes, more than the {MAX_ARTIFACT_BYTES} of an artifact",
                    content.0.len()
                )
            }
            InodeKind::File { .. } if self.artifacts.len() >= MAX_ARTIFACTS => {
                format!("more than {MAX_ARTIFACTS} artifacts in one block")
            }
            InodeKind::File { content } => {
                match artifact_path(path.as_bytes()) {
                    Ok(path) => self.artifacts.push(Artifact::new(path, content.0.clone())),
                    Err(refused) => self.refuse(refused.path, refused.reason),
                }
                return;
            }
            InodeKind::Link { target } => format!("a symbolic link, to {target}"),
            InodeKind::Device(_) => "a device".to_owned(),
            InodeKind::Directory { .. } => return,
        };
        self.refuse(path, reason);
    }

    fn refuse(&mut self, path: String, reason: String) {
        // The list of refused files is bounded, too.
        if self.refused.len() < MAX_ARTIFACTS {
            let refused = RefusedFile { path, reason };
            // A version control directory is refused once, not for each file in it.
            if !self.refused.contains(&refused) {
                self.refused.push(refused);
            }
        }
    }
}
