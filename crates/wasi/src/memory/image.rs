//! A memory image: a guest at rest.

use std::{
    fs::File,
    io::{self, Write},
    sync::Arc,
};

use crate::{
    fs::Fs,
    sys::{MappedFile, PAGE},
};

/// The size of a WebAssembly page, in bytes.
pub const WASM_PAGE: u64 = 64 * 1024;

/// A mutable global of the guest, with its value whenever no call into the guest is active.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RestGlobal {
    /// The name under which the stripped module exports it.
    pub export: String,
    /// The value at rest.
    pub value: i32,
}

/// A guest at rest: its memory as a file, and the host's state for it.
#[derive(Debug)]
pub struct MemoryImage {
    /// The memory; the file is as long as it.
    pub file: File,
    /// The same file, for reading.
    mapped: MappedFile,
    /// The guest's mutable globals at rest.
    pub globals: Arc<[RestGlobal]>,
    /// The files and open descriptors that belong to this memory.
    pub fs: Fs,
}

impl MemoryImage {
    /// Creates an image whose memory is the first `len` bytes of `file`.
    pub fn new(file: File, len: usize, globals: Arc<[RestGlobal]>, fs: Fs) -> io::Result<Self> {
        Ok(Self { mapped: MappedFile::new(&file, len)?, file, globals, fs })
    }

    /// Returns the memory.
    pub fn bytes(&self) -> &[u8] {
        self.mapped.bytes()
    }
}

/// Writes `memory` to `file`, leaving holes where it is zero.
pub fn write_sparse(file: &mut File, memory: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.set_len(memory.len() as u64)?;
    let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let mut at = 0;
    // Each run of pages with content is written in one call.
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
