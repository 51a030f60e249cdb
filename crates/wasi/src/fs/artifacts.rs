//! What a program leaves in its workspace.

use cellblock_exec::{
    Artifact, MAX_ARTIFACT_BYTES, MAX_ARTIFACTS, RefusedFile, workspace::artifact_path,
};

use super::{
    WORKSPACE,
    path::LONGEST_PATH,
    tree::{Fs, Inode, Kind, Node},
};

/// The files that are new or changed, and those that are not handed out.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) refused: Vec<RefusedFile>,
}

impl Fs {
    /// The files of the workspace that changed after `since`, by path.
    pub(crate) fn changed_since(&self, since: u64) -> Collected {
        let mut collected = Collected::default();
        if self.changes == since {
            return collected;
        }
        let Ok(workspace) = self.lookup(Node::ROOT, WORKSPACE, true) else { return collected };
        // Not recursive: a guest can nest directories deeper than a host's stack.
        let mut directories = vec![(String::new(), workspace, since)];
        while let Some((prefix, directory, since)) = directories.pop() {
            let Some(Inode { kind: Kind::Directory { entries, .. }, .. }) = self.inode(directory)
            else {
                continue;
            };
            for (name, node) in entries.iter() {
                let Some(inode) = self.inode(node) else { continue };
                let path = format!("{prefix}{name}");
                match &inode.kind {
                    // A guest makes such paths step by step; many of them together would fill the host's memory, and no
                    // host could write them.
                    _ if path.len() > LONGEST_PATH => {
                        collected
                            .refuse(name.to_owned(), format!("a path of {} bytes", path.len()));
                    }
                    Kind::Directory { .. } => {
                        // What is in a directory that came from elsewhere has new names, too.
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

impl Collected {
    fn take(&mut self, path: String, kind: &Kind) {
        let reason = match kind {
            Kind::File { content } if content.0.len() as u64 > MAX_ARTIFACT_BYTES => {
                format!(
                    "{} bytes, more than the {MAX_ARTIFACT_BYTES} of an artifact",
                    content.0.len()
                )
            }
            Kind::File { .. } if self.artifacts.len() >= MAX_ARTIFACTS => {
                format!("more than {MAX_ARTIFACTS} artifacts in one block")
            }
            Kind::File { content } => {
                match artifact_path(path.as_bytes()) {
                    Ok(path) => self.artifacts.push(Artifact::new(path, content.0.clone())),
                    Err(refused) => self.refuse(refused.path, refused.reason),
                }
                return;
            }
            Kind::Link { target } => format!("a symbolic link, to {target}"),
            Kind::Device(_) => "a device".to_owned(),
            Kind::Directory { .. } => return,
        };
        self.refuse(path, reason);
    }

    fn refuse(&mut self, path: String, reason: String) {
        // The list of refusals is bounded too; the first ones tell the story.
        if self.refused.len() < MAX_ARTIFACTS {
            let refused = RefusedFile { path, reason };
            // A directory of version control is refused once, not for each file in it.
            if !self.refused.contains(&refused) {
                self.refused.push(refused);
            }
        }
    }
}
