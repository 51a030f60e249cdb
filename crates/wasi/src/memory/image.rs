//! A memory image: a guest at rest.

use std::{
    fs::File,
    io::{self, Write},
    sync::Arc,
};

use super::sys::{Mapped, PAGE};
use crate::{fs::Fs, images::strip::RestGlobal};

/// A guest at rest: its memory as a file, and what the host keeps for it.
#[derive(Debug)]
pub(crate) struct MemoryImage {
    /// As long as the guest's memory.
    pub(crate) file: File,
    /// The same file, for reading.
    mapped: Mapped,
    /// The guest's mutable globals at rest.
    pub(crate) globals: Arc<[RestGlobal]>,
    /// The files and open descriptors that belong to this memory.
    pub(crate) fs: Fs,
}

impl MemoryImage {
    /// An image whose memory is the first `len` bytes of `file`.
    pub(crate) fn new(
        file: File,
        len: usize,
        globals: Arc<[RestGlobal]>,
        fs: Fs,
    ) -> io::Result<Self> {
        Ok(Self { mapped: Mapped::new(&file, len)?, file, globals, fs })
    }

    /// The memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapped.bytes()
    }
}

/// Writes `memory` to `file`, leaving holes where it is zero.
pub(crate) fn write_sparse(file: &mut File, memory: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.set_len(memory.len() as u64)?;
    let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let mut at = 0;
    // Runs of pages with content are written in one call each.
    for run in memory.chunks(PAGE).collect::<Vec<_>>().chunk_by(|a, b| is_zero(a) == is_zero(b)) {
        let len: usize = run.iter().map(|page| page.len()).sum();
        if !is_zero(run[0]) {
            file.seek(SeekFrom::Start(at as u64))?;
            file.write_all(&memory[at..at + len])?;
        }
        at += len;
    }
    Ok(())
}
