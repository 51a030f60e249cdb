//! The system calls under memory images, and all `unsafe` code of this crate.
//!
//! Nothing here knows of WebAssembly's rules beyond this: the memory of an instance is one range of host memory that
//! stays where it is (the engine is configured so that memories never move).
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

/// A page of x86-64, in bytes. Only a unit for finding zeros: what is mapped are whole WebAssembly pages, which are
/// multiples of the pages of every Linux host.
pub(crate) const PAGE: usize = 4096;

/// A file of whole pages, mapped for reading.
#[derive(Debug)]
pub(crate) struct Mapped {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is read-only, and this value owns it: it is unmapped when it is dropped and not before.
unsafe impl Send for Mapped {}
// SAFETY: as above; shared reads of memory that nobody writes.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the first `len` bytes of `file`. An empty mapping is allowed.
    ///
    /// The caller keeps the file as it is while it is mapped: files come from the user's own cache directory (0700), are
    /// only ever replaced by renaming, or are sealed in memory.
    pub(crate) fn new(file: &File, len: usize) -> io::Result<Self> {
        let Some(size) = NonZeroUsize::new(len) else {
            return Ok(Self { base: NonNull::dangling(), len: 0 });
        };
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than its index says",
            ));
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let base = unsafe {
            mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file.as_fd(), 0)
        }?;
        Ok(Self { base: base.cast(), len })
    }

    /// Its content.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `base` is the start of `len` mapped, readable bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range is the mapping that `new` made, and no reference to it outlives `self`.
            let _ = unsafe { munmap(self.base.cast(), self.len) };
        }
    }
}

/// Makes the memory of an instance a private mapping of `file`, which has to be as long as the memory.
pub(crate) fn map_over(store: impl AsContextMut, memory: Memory, file: &File) -> io::Result<()> {
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
    // SAFETY: the range is exactly the accessible part of this instance's memory. It belongs to the store, which the
    // caller borrows mutably, so no reference into it exists. Wasmtime got it from an anonymous mapping that it keeps as
    // one reservation, never moves (`memory_may_move(false)`), and later unmaps as a whole; replacing pages inside it
    // changes their content only, and any content is a valid linear memory.
    unsafe { mmap(Some(address), size, protection, flags, file.as_fd(), 0) }?;
    Ok(())
}

/// Loads native code that [`wasmtime::Engine::precompile_module`] made.
///
/// The caller vouches for the file: it comes from the user's own cache directory (0700) and its hash was checked.
pub(crate) fn load_code(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the file was written by this program (or one running as the same user, who could as well replace the
    // program), and `crate::images::object` checked that it is what was written. Wasmtime checks version and settings.
    unsafe { Module::deserialize_file(engine, path) }
}

/// What [`written_pages`] found.
pub(crate) enum Written {
    /// The byte ranges that were written, ascending.
    Ranges(Vec<Range<usize>>),
    /// More than the caller wanted to know of, or this kernel cannot tell.
    Unknown,
}

/// Which pages of an instance's memory were written since it was mapped.
///
/// In a private mapping of a file, a written page is anonymous: present or swapped out, and not the file's. The
/// `PAGEMAP_SCAN` request (Linux 6.7) lists them. A scan that fails, or that finds more than `most` ranges, is
/// [`Written::Unknown`].
pub(crate) fn written_pages(store: impl AsContext, memory: Memory, most: usize) -> Written {
    let Some(pagemap) = pagemap() else { return Written::Unknown };
    let base = memory.data_ptr(&store) as u64;
    let mut scan = ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        start: base,
        end: base + memory.data_size(&store) as u64,
        regions_len: REGIONS_AT_ONCE as u64,
        category_inverted: PAGE_IS_FILE,
        category_mask: PAGE_IS_FILE,
        category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        // Pages that differ in nothing that is returned come as one region.
        return_mask: PAGE_IS_FILE,
        ..ScanArguments::default()
    };
    let mut ranges = Vec::new();
    let mut regions = [PageRegion::default(); REGIONS_AT_ONCE];
    while scan.start < scan.end {
        scan.regions = regions.as_mut_ptr() as u64;
        // SAFETY: the argument is the structure that this request takes, with its own size in it; `regions` has room for
        // `regions_len` entries and outlives the call. The scan only reads page tables of this process.
        let found = match unsafe { pagemap_scan(pagemap.as_raw_fd(), &raw mut scan) } {
            // It says where it stopped, which is where the next call goes on.
            Ok(found) if scan.walk_end > scan.start && scan.walk_end <= scan.end => found as usize,
            _ => return Written::Unknown,
        };
        let found = regions.iter().take(found);
        ranges.extend(
            found.map(|region| (region.start - base) as usize..(region.end - base) as usize),
        );
        if ranges.len() > most {
            return Written::Unknown;
        }
        scan.start = scan.walk_end;
    }
    Written::Ranges(ranges)
}

/// How many regions one scan lists. The kernel collects this many at a time, and when it is given room for more it tells
/// wrongly where it stopped (seen on Linux 6.18).
const REGIONS_AT_ONCE: usize = 512;

/// Whether this kernel can list written pages.
pub(crate) fn can_list_written_pages() -> bool {
    let Some(pagemap) = pagemap() else { return false };
    let mut scan =
        ScanArguments { size: size_of::<ScanArguments>() as u64, ..ScanArguments::default() };
    // SAFETY: an empty range; the kernel validates the request and touches nothing.
    unsafe { pagemap_scan(pagemap.as_raw_fd(), &raw mut scan) }.is_ok()
}

/// Asks the kernel to write an instance's memory to swap and to take its pages.
#[cfg(test)]
pub(crate) fn page_out(store: impl AsContext, memory: Memory) -> nix::Result<()> {
    let base = NonNull::new(memory.data_ptr(&store)).ok_or(nix::errno::Errno::EINVAL)?;
    // SAFETY: the range is the instance's own memory. The advice moves pages; it does not change what is in them.
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
