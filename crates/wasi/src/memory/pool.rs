//! Slots of one image that wait to be used again.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Guest, MemoryImage, Slot};

/// An image that sessions are made from, with idle slots.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) guest: Guest,
    pub(crate) image: Arc<MemoryImage>,
    idle: Mutex<Vec<Slot>>,
    /// How many idle slots are kept.
    most_idle: usize,
}

impl Template {
    /// A template that keeps up to `most_idle` slots.
    pub(crate) fn new(guest: Guest, image: Arc<MemoryImage>, most_idle: usize) -> Self {
        Self { guest, image, idle: Mutex::default(), most_idle }
    }

    /// A slot that equals the image.
    pub(crate) async fn acquire(&self) -> wasmtime::Result<Slot> {
        // The one used last has the warmest caches.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(slot) => Ok(slot),
            None => Slot::new(&self.guest, self.image.clone()).await,
        }
    }

    /// Takes back a slot whose calls have all returned. One that cannot be made equal to the image is dropped.
    pub(crate) fn release(&self, mut slot: Slot) {
        if Arc::ptr_eq(&slot.image, &self.image) && slot.reset() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < self.most_idle {
                idle.push(slot);
            }
        }
    }
}
