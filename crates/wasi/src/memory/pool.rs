//! The pool of idle slots of one image.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    image::MemoryImage,
    slot::{Guest, Slot},
};

/// An image that sessions are made from, with its idle slots.
#[derive(Debug)]
pub struct Template {
    pub guest: Guest,
    pub image: Arc<MemoryImage>,
    idle: Mutex<Vec<Slot>>,
    /// The maximum number of idle slots that are kept.
    max_idle: usize,
}

impl Template {
    /// Creates a template that keeps up to `max_idle` idle slots.
    pub fn new(guest: Guest, image: Arc<MemoryImage>, max_idle: usize) -> Self {
        Self { guest, image, idle: Mutex::default(), max_idle }
    }

    /// Returns a slot that equals the image: an idle one or a new one.
    pub async fn acquire(&self) -> wasmtime::Result<Slot> {
        // The slot that was used last has the warmest caches.
        let idle = self.idle.lock().pop();
        match idle {
            Some(slot) => Ok(slot),
            None => Slot::new(&self.guest, self.image.clone()).await,
        }
    }

    /// Takes back a slot whose calls have all returned. A slot that cannot be reset is dropped.
    pub fn release(&self, mut slot: Slot) {
        if Arc::ptr_eq(&slot.image, &self.image) && slot.reset() {
            let mut idle = self.idle.lock();
            if idle.len() < self.max_idle {
                idle.push(slot);
            }
        }
    }
}
