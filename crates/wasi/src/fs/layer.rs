//! A read-only layer: a tree of files out of one archive, mapped into memory and shared by all sessions.

use std::{collections::BTreeMap, fs::File, io, ops::Range, path::Path};

use crate::memory::sys::Mapped;

/// A tree of read-only files.
#[derive(Debug)]
pub(crate) struct Layer {
    nodes: Vec<LayerNode>,
    content: Mapped,
}

/// A file, a directory or, for an archive that the interpreter treats as both, a file with children.
#[derive(Debug, Default)]
pub(crate) struct LayerNode {
    pub(crate) parent: u32,
    pub(crate) children: BTreeMap<Box<str>, u32>,
    content: Option<Range<usize>>,
    /// A directory that only leads to another one: paths pass through it, but it is not there when looked at. So an
    /// importer that asks whether `library.zip/package` is a directory goes on to look into the archive.
    pub(crate) hidden: bool,
}

impl LayerNode {
    pub(crate) fn is_file(&self) -> bool {
        self.content.is_some()
    }
}

impl Layer {
    /// Opens an archive: a ZIP file whose members are stored, not compressed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let content = Mapped::new(&file, file.metadata()?.len() as usize)?;
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, "the layer's archive is damaged");
        let mut archive = zip::ZipArchive::new(io::Cursor::new(content.bytes()))?;
        let mut nodes = vec![LayerNode::default()];
        for index in 0..archive.len() {
            let member = archive.by_index_raw(index)?;
            if member.is_dir() {
                let node = add_path(&mut nodes, &member.name()?);
                nodes[node as usize].hidden = false;
                continue;
            }
            let start = member.data_start().ok_or_else(damaged)? as usize;
            let end = start.checked_add(member.size() as usize).ok_or_else(damaged)?;
            let range = start..end;
            if member.compression() != zip::CompressionMethod::Stored
                || content.bytes().get(range.clone()).is_none()
            {
                return Err(damaged());
            }
            let node = add_path(&mut nodes, &member.name()?);
            nodes[node as usize].content = Some(range);
            nodes[node as usize].hidden = false;
        }
        drop(archive);
        Ok(Self { nodes, content })
    }

    /// A node by its index; 0 is the root.
    pub(crate) fn node(&self, index: u32) -> Option<&LayerNode> {
        self.nodes.get(index as usize)
    }

    /// The content of a file.
    pub(crate) fn content(&self, index: u32) -> Option<&[u8]> {
        let range = self.node(index)?.content.clone()?;
        self.content.bytes().get(range)
    }
}

/// The node at `path`, made with its parents if it is not there. Directories in a file are hidden until the archive names
/// them.
fn add_path(nodes: &mut Vec<LayerNode>, path: &str) -> u32 {
    let mut at = 0u32;
    for name in path.split('/').filter(|name| !name.is_empty() && *name != "." && *name != "..") {
        at = match nodes[at as usize].children.get(name) {
            Some(child) => *child,
            None => {
                let child = nodes.len() as u32;
                let hidden = nodes[at as usize].is_file() || nodes[at as usize].hidden;
                nodes.push(LayerNode { parent: at, hidden, ..LayerNode::default() });
                nodes[at as usize].children.insert(name.into(), child);
                child
            }
        };
    }
    at
}
