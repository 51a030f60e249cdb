//! A read-only layer: a tree of files from one archive, which is mapped into memory and shared by
//! all sessions.

use std::{collections::BTreeMap, fs::File, io, ops::Range, path::Path};

use crate::sys::MappedFile;

/// A tree of read-only files.
#[derive(Debug)]
pub struct Layer {
    nodes: Vec<LayerNode>,
    content: MappedFile,
}

/// A file, a directory or, for an archive that the interpreter treats as both, a file with
/// children.
#[derive(Debug, Default)]
pub struct LayerNode {
    pub parent: u32,
    pub children: BTreeMap<Box<str>, u32>,
    content: Option<Range<usize>>,
    /// True for a directory that paths pass through but that does not exist by itself. So an
    /// importer that checks if `library.zip/package` is a directory continues with the archive.
    pub hidden: bool,
}

impl LayerNode {
    pub fn is_file(&self) -> bool {
        self.content.is_some()
    }
}

impl Layer {
    /// Opens an archive: a ZIP file whose members are stored, not compressed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let content = MappedFile::new(&file, file.metadata()?.len() as usize)?;
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

    /// Returns a node by its index; 0 is the root.
    pub fn node(&self, index: u32) -> Option<&LayerNode> {
        self.nodes.get(index as usize)
    }

    /// Returns the content of a file.
    pub fn content(&self, index: u32) -> Option<&[u8]> {
        let range = self.node(index)?.content.clone()?;
        self.content.bytes().get(range)
    }
}

/// Returns the node at `path`; it and its parents are added if they do not exist. Directories in a
/// file are hidden until the archive names them.
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
