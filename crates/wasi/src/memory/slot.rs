//! A slot: an instance whose memory is a private mapping of an image, and that can be made equal to it again.

use std::{io, sync::Arc};

use wasmtime::{Global, InstancePre, Memory, Store, Trap, TypedFunc};

use super::{
    MemoryImage,
    sys::{self, Written},
};
use crate::{fs::Quota, host::Host, images::strip::WASM_PAGE};

/// A slot that wrote more than this, in bytes, is mapped anew: its pages would otherwise stay in memory.
const KEEP_RESIDENT: usize = 8 * 1024 * 1024;
/// The most ranges of written pages that a scan lists.
const MOST_RANGES: usize = 4096;

/// Compiled code, linked with what it may call.
#[derive(Clone)]
pub(crate) struct Guest {
    /// Makes instances.
    pub(crate) instances: InstancePre<Host>,
    /// Instructions a turn may use; `None` when they are not counted.
    pub(crate) fuel: Option<u64>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("fuel", &self.fuel).finish_non_exhaustive()
    }
}

/// An instance on an image.
pub(crate) struct Slot {
    pub(crate) store: Store<Host>,
    pub(crate) image: Arc<MemoryImage>,
    memory: Memory,
    globals: Vec<Global>,
    turn: TypedFunc<(u32, u32), i32>,
    allocate: TypedFunc<u32, u32>,
    /// Whether it has served a session before.
    #[cfg(test)]
    pub(crate) was_used: bool,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("memory", &self.image.bytes().len()).finish_non_exhaustive()
    }
}

impl Slot {
    /// A new instance on `image`.
    pub(crate) async fn new(guest: &Guest, image: Arc<MemoryImage>) -> wasmtime::Result<Self> {
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
        slot.start_over();
        Ok(slot)
    }

    /// Runs Python source in the guest's `__main__`. 0 is success; otherwise the guest printed what was wrong.
    pub(crate) async fn turn(&mut self, source: &[u8]) -> wasmtime::Result<i32> {
        let len = u32::try_from(source.len())?;
        self.store.set_epoch_deadline(1);
        let pointer = self.allocate.call_async(&mut self.store, len).await?;
        if pointer == 0 {
            // No memory left; a C library in this place aborts.
            return Err(Trap::UnreachableCodeReached.into());
        }
        // A program can have broken the guest's allocator, and then it gives any address.
        self.memory
            .write(&mut self.store, pointer as usize, source)
            .map_err(|_| Trap::MemoryOutOfBounds)?;
        self.turn.call_async(&mut self.store, (pointer, len)).await
    }

    /// The guest's memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// Whether the globals are at their rest values, as they have to be whenever no call is active.
    pub(crate) fn is_at_rest(&mut self) -> bool {
        let Self { store, globals, image, .. } = self;
        globals
            .iter()
            .zip(image.globals.iter())
            .all(|(global, rest)| global.get(&mut *store).i32() == Some(rest.value))
    }

    /// What differs from the image, as ranges of whole pages; `None` when that is not known or the memory has grown.
    pub(crate) fn written(&self) -> Option<Vec<std::ops::Range<usize>>> {
        if self.bytes().len() != self.image.bytes().len() {
            return None;
        }
        match sys::written_pages(&self.store, self.memory, MOST_RANGES) {
            Written::Ranges(ranges) => Some(ranges),
            Written::Unknown => None,
        }
    }

    /// Makes the slot equal to its image again. `false`: it cannot be reused, and has to be dropped.
    pub(crate) fn reset(&mut self) -> bool {
        let written = self.written();
        self.reset_knowing(written)
    }

    /// [`Slot::reset`], knowing what was written, or not knowing it.
    pub(super) fn reset_knowing(&mut self, written: Option<Vec<std::ops::Range<usize>>>) -> bool {
        // An instance's memory cannot shrink, so one that has grown is not the image any more. And a guest that was
        // stopped in the middle of a call may have left its stack pointer anywhere.
        if self.bytes().len() != self.image.bytes().len() || !self.is_at_rest() {
            return false;
        }
        let image = self.image.clone();
        match written {
            Some(ranges)
                if ranges.iter().map(ExactSizeIterator::len).sum::<usize>() <= KEEP_RESIDENT =>
            {
                let memory = self.memory.data_mut(&mut self.store);
                for range in ranges {
                    memory[range.clone()].copy_from_slice(&image.bytes()[range]);
                }
            }
            _ if sys::map_over(&mut self.store, self.memory, &image.file).is_ok() => {}
            _ => return false,
        }
        self.start_over();
        #[cfg(test)]
        {
            self.was_used = true;
        }
        true
    }

    /// Takes `image`, which has to hold what this slot's memory holds now, as its own.
    pub(crate) fn rebase(&mut self, image: Arc<MemoryImage>) -> io::Result<()> {
        sys::map_over(&mut self.store, self.memory, &image.file)?;
        self.image = image;
        Ok(())
    }

    /// Takes over what another slot on the same image has written.
    pub(crate) fn copy_from(&mut self, other: &Slot, ranges: &[std::ops::Range<usize>]) {
        let memory = self.memory.data_mut(&mut self.store);
        for range in ranges {
            memory[range.clone()].copy_from_slice(&other.bytes()[range.clone()]);
        }
    }

    /// Puts the host's side back to the image's.
    fn start_over(&mut self) {
        let fs = self.image.fs.clone();
        let host = self.store.data_mut();
        host.fs = fs;
        host.fs.set_quota(Quota::default());
        host.turn = crate::host::Turn::default();
        host.memory_denied = false;
    }
}

fn missing(export: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the guest does not export `{export}`"))
}
