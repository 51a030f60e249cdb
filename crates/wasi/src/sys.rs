//! The system calls under memory images and layers, and all `unsafe` code of this crate.
//!
//! This module relies on one property of WebAssembly memory: the memory of an instance is one range
//! of host memory that never moves (see [`config`](crate::engine::config)).
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    num::NonZeroUsize,
    ops::Range,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    ptr::NonNull,
    sync::OnceLock,
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use wasmtime::{AsContext, AsContextMut, Engine, Memory, Module};

/// The size of a page of x86-64, in bytes. It is only the unit for finding zeros. Mappings consist
/// of whole WebAssembly pages, which are multiples of the pages of every Linux host.
pub const PAGE: usize = 4096;

/// A file of whole pages, mapped for reading.
#[derive(Debug)]
pub struct MappedFile {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is read-only, and this value owns it: it is unmapped when the value is
// dropped, and not before.
unsafe impl Send for MappedFile {}
// SAFETY: as above; shared reads of memory that no thread writes.
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// Maps the first `len` bytes of `file`. An empty mapping is allowed.
    ///
    /// The caller keeps the file unchanged while it is mapped: it is a file of the user's own cache
    /// directory (0700), where files are only replaced by renaming, or an anonymous one that no
    /// other code has open.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        let Some(size) = NonZeroUsize::new(len) else {
            return Ok(Self { base: NonNull::dangling(), len: 0 });
        };
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is too short to be mapped",
            ));
        }
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that is in
        // use.
        let base = unsafe {
            mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file.as_fd(), 0)
        }?;
        Ok(Self { base: base.cast(), len })
    }

    /// Returns the content.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `base` is the start of `len` mapped, readable bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range is the mapping that `new` made, and no reference to it outlives
            // `self`.
            let _ = unsafe { munmap(self.base.cast(), self.len) };
        }
    }
}

/// Makes the memory of an instance a private mapping of `file`, which has to be as long as the
/// memory.
pub fn map_over(store: impl AsContextMut, memory: Memory, file: &File) -> io::Result<()> {
    let len = memory.data_size(&store);
    let base = memory.data_ptr(&store);
    let (Some(address), Some(size)) = (NonZeroUsize::new(base as usize), NonZeroUsize::new(len))
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the guest has no memory"));
    };
    if file.metadata()?.len() != len as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the image is not as long as the memory",
        ));
    }
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE;
    // SAFETY: the range is exactly the accessible part of this instance's memory. It belongs to the
    // store, which the caller borrows mutably, so no reference into it exists. Wasmtime allocated
    // it as an anonymous mapping that it keeps as one reservation, never moves
    // (`memory_may_move(false)`), and later unmaps as a whole. Replacing pages inside it changes
    // only their content, and any content is a valid linear memory.
    unsafe { mmap(Some(address), size, protection, flags, file.as_fd(), 0) }?;
    Ok(())
}

/// Loads native code that [`wasmtime::Engine::precompile_module`] made.
///
/// The caller vouches for the file: it is in the user's own cache directory (0700), and
/// [`Objects::get_or_make`](cellblock_cache::Objects::get_or_make) returned its object.
pub fn load_code(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the file is what `precompile_module` returned. `images::code` wrote it into an object
    // of the cache, whose index keeps the file's hash and stamp; before `Objects::get_or_make`
    // returns an object, it makes sure that the stamp (size, inode, modification and change time)
    // is unchanged, or hashes the file again, and makes the object anew if the hash differs. Only
    // the user can write to the cache, and could as well replace this program. The object's name
    // contains the engine's compatibility hash, and wasmtime checks its version and settings in the
    // file's header.
    unsafe { Module::deserialize_file(engine, path) }
}

/// The result of [`written_pages`].
pub enum WrittenPages {
    /// The byte ranges that were written, ascending.
    Ranges(Vec<Range<usize>>),
    /// There are too many ranges, or this kernel cannot list them.
    Unknown,
}

/// Finds the pages of an instance's memory that were written since it was mapped.
///
/// In a private mapping of a file, a written page is anonymous: present or swapped out, and not a
/// page of the file. The `PAGEMAP_SCAN` request (Linux 6.7) lists them. If the scan fails or finds
/// more than `max` ranges, the result is [`WrittenPages::Unknown`].
pub fn written_pages(store: impl AsContext, memory: Memory, max: usize) -> WrittenPages {
    let Some(pagemap) = pagemap() else { return WrittenPages::Unknown };
    let base = memory.data_ptr(&store) as u64;
    let mut scan = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        start: base,
        end: base + memory.data_size(&store) as u64,
        regions_len: REGIONS_AT_ONCE as u64,
        category_inverted: PAGE_IS_FILE,
        category_mask: PAGE_IS_FILE,
        category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        // Neighbouring pages that do not differ in these bits are returned as one region.
        return_mask: PAGE_IS_FILE,
        ..ScanArguments::default()
    };
    let mut ranges = Vec::new();
    let mut regions = [PageRegion::default(); REGIONS_AT_ONCE];
    while scan.start < scan.end {
        scan.regions = regions.as_mut_ptr() as u64;
        // SAFETY: the argument is the structure that this request takes, with its own size in it;
        // `regions` has room for `regions_len` entries and outlives the call. The scan only reads
        // page tables of this process.
        let found = match unsafe { pagemap_scan(pagemap.as_raw_fd(), &raw mut scan) } {
            // The next call continues where this one stopped.
            Ok(found) if scan.walk_end > scan.start && scan.walk_end <= scan.end => found as usize,
            _ => return WrittenPages::Unknown,
        };
        let found = regions.iter().take(found);
        ranges.extend(
            found.map(|region| (region.start - base) as usize..(region.end - base) as usize),
        );
        if ranges.len() > max {
            return WrittenPages::Unknown;
        }
        scan.start = scan.walk_end;
    }
    WrittenPages::Ranges(ranges)
}

/// The number of regions that one scan lists. The kernel collects this many at a time. With room
/// for more, it reports the wrong place where it stopped (seen on Linux 6.18).
const REGIONS_AT_ONCE: usize = 512;

/// True if this kernel can list written pages.
pub fn can_list_written_pages() -> bool {
    let Some(pagemap) = pagemap() else { return false };
    let mut scan =
        ScanArguments { size: size_of::<ScanArguments>() as u64, ..ScanArguments::default() };
    // SAFETY: an empty range; the kernel validates the request and touches nothing.
    unsafe { pagemap_scan(pagemap.as_raw_fd(), &raw mut scan) }.is_ok()
}

/// Asks the kernel to move an instance's memory to swap.
#[cfg(test)]
pub fn page_out(store: impl AsContext, memory: Memory) -> nix::Result<()> {
    let base = NonNull::new(memory.data_ptr(&store)).ok_or(nix::errno::Errno::EINVAL)?;
    // SAFETY: the range is the instance's own memory. The advice moves pages but does not change
    // their content.
    unsafe {
        nix::sys::mman::madvise(
            base.cast(),
            memory.data_size(&store),
            nix::sys::mman::MmapAdvise::MADV_PAGEOUT,
        )
    }
}

fn pagemap() -> Option<&'static File> {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()
}

/// `struct page_region` of Linux's `fs.h`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of Linux's `fs.h`.
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;

nix::ioctl_readwrite!(pagemap_scan, b'f', 16, ScanArguments);
