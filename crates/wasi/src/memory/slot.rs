//! A slot: an instance whose memory is a private mapping of an image, and that can be reset to it.
//!
//! After a session, the pages that it wrote (found by `PAGEMAP_SCAN`: anonymous pages in a private
//! file mapping) are copied back from the image and stay resident, so that the next session takes
//! no page faults. The instance itself is reused too: it has no other state. A slot is mapped anew
//! or discarded if its memory has grown, its guest was stopped in the middle, its globals are not
//! at rest, or the scan fails.

use std::{io, sync::Arc};

use wasmtime::{Global, InstancePre, Memory, Store, Trap, TypedFunc};

use super::image::{MemoryImage, WASM_PAGE};
use crate::{
    fs::Quota,
    host::{Host, TurnState},
    sys::{self, WrittenPages},
};

/// The maximum number of written bytes that a reset copies back, and so keeps in memory. A slot
/// with more is mapped anew.
const MAX_RESIDENT: usize = 8 * 1024 * 1024;
/// The maximum number of ranges of written pages that a scan lists.
const MAX_RANGES: usize = 4096;

/// Compiled code, linked with the host calls.
#[derive(Clone)]
pub struct Guest {
    /// Makes instances.
    pub instances: InstancePre<Host>,
    /// The maximum number of instructions of a turn; `None` if they are not counted.
    pub fuel: Option<u64>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("fuel", &self.fuel).finish_non_exhaustive()
    }
}

/// An instance on an image.
pub struct Slot {
    pub store: Store<Host>,
    pub image: Arc<MemoryImage>,
    memory: Memory,
    globals: Vec<Global>,
    turn: TypedFunc<(u32, u32), i32>,
    allocate: TypedFunc<u32, u32>,
    /// True if the slot was reset after a session.
    #[cfg(test)]
    pub was_used: bool,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("memory", &self.image.bytes().len()).finish_non_exhaustive()
    }
}

impl Slot {
    /// Creates an instance on `image`.
    pub async fn new(guest: &Guest, image: Arc<MemoryImage>) -> wasmtime::Result<Self> {
        let mut store = Store::new(guest.instances.module().engine(), Host::new());
        store.limiter(|host| host);
        store.epoch_deadline_async_yield_and_update(1);
        if guest.fuel.is_some() {
            store.set_fuel(u64::MAX)?;
        }
        let instance = guest.instances.instantiate_async(&mut store).await?;
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| missing("memory"))?;
        let missing_pages = (image.bytes().len() as u64)
            .saturating_sub(memory.data_size(&store) as u64)
            / WASM_PAGE;
        memory.grow(&mut store, missing_pages)?;
        sys::map_over(&mut store, memory, &image.file)?;
        store.data_mut().memory = Some(memory);
        let globals = image
            .globals
            .iter()
            .map(|rest| {
                instance.get_global(&mut store, &rest.export).ok_or_else(|| missing(&rest.export))
            })
            .collect::<wasmtime::Result<_>>()?;
        let turn = instance.get_typed_func(&mut store, "turn")?;
        let allocate = instance.get_typed_func(&mut store, "host_alloc")?;
        let mut slot = Self {
            store,
            image,
            memory,
            globals,
            turn,
            allocate,
            #[cfg(test)]
            was_used: false,
        };
        slot.reset_host();
        Ok(slot)
    }

    /// Runs Python source in the guest's `__main__`. Returns 0 for success; otherwise the guest has
    /// printed the error.
    pub async fn turn(&mut self, source: &[u8]) -> wasmtime::Result<i32> {
        let len = u32::try_from(source.len())?;
        self.store.set_epoch_deadline(1);
        let pointer = self.allocate.call_async(&mut self.store, len).await?;
        if pointer == 0 {
            // The guest is out of memory, where a C library aborts.
            return Err(Trap::UnreachableCodeReached.into());
        }
        // A program can have broken the guest's allocator, which then returns any address.
        self.memory
            .write(&mut self.store, pointer as usize, source)
            .map_err(|_| Trap::MemoryOutOfBounds)?;
        self.turn.call_async(&mut self.store, (pointer, len)).await
    }

    /// Returns the guest's memory.
    pub fn bytes(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// True if the globals have their values at rest, as they must whenever no call is active.
    pub fn is_at_rest(&mut self) -> bool {
        let Self { store, globals, image, .. } = self;
        globals
            .iter()
            .zip(image.globals.iter())
            .all(|(global, rest)| global.get(&mut *store).i32() == Some(rest.value))
    }

    /// Returns the ranges of pages that differ from the image; `None` if they are not known or the
    /// memory has grown.
    pub fn written(&self) -> Option<Vec<std::ops::Range<usize>>> {
        if self.bytes().len() != self.image.bytes().len() {
            return None;
        }
        match sys::written_pages(&self.store, self.memory, MAX_RANGES) {
            WrittenPages::Ranges(ranges) => Some(ranges),
            WrittenPages::Unknown => None,
        }
    }

    /// Makes the slot equal to its image again. Returns false if the slot cannot be reused and has
    /// to be dropped.
    pub fn reset(&mut self) -> bool {
        let written = self.written();
        self.reset_pages(written)
    }

    /// Resets the slot like [`Slot::reset`], given the ranges that were written, if they are known.
    pub fn reset_pages(&mut self, written: Option<Vec<std::ops::Range<usize>>>) -> bool {
        // An instance's memory cannot shrink, so a grown one never equals the image again. A guest
        // that was stopped in the middle of a call can have left its stack pointer anywhere.
        if self.bytes().len() != self.image.bytes().len() || !self.is_at_rest() {
            return false;
        }
        let image = self.image.clone();
        match written {
            Some(ranges)
                if ranges.iter().map(ExactSizeIterator::len).sum::<usize>() <= MAX_RESIDENT =>
            {
                let memory = self.memory.data_mut(&mut self.store);
                for range in ranges {
                    memory[range.clone()].copy_from_slice(&image.bytes()[range]);
                }
            }
            _ if sys::map_over(&mut self.store, self.memory, &image.file).is_ok() => {}
            _ => return false,
        }
        self.reset_host();
        #[cfg(test)]
        {
            self.was_used = true;
        }
        true
    }

    /// Makes `image` the slot's image. It has to contain what this slot's memory contains now.
    pub fn rebase(&mut self, image: Arc<MemoryImage>) -> io::Result<()> {
        sys::map_over(&mut self.store, self.memory, &image.file)?;
        self.image = image;
        Ok(())
    }

    /// Copies the pages that another slot on the same image has written.
    pub fn copy_from(&mut self, other: &Slot, ranges: &[std::ops::Range<usize>]) {
        let memory = self.memory.data_mut(&mut self.store);
        for range in ranges {
            memory[range.clone()].copy_from_slice(&other.bytes()[range.clone()]);
        }
    }

    /// Resets the host's state to that of the image.
    fn reset_host(&mut self) {
        let fs = self.image.fs.clone();
        let host = self.store.data_mut();
        host.fs = fs;
        host.fs.set_quota(Quota::default());
        host.turn = TurnState::default();
        host.memory_denied = false;
    }
}

fn missing(export: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the guest does not export `{export}`"))
}
