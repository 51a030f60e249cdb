//! An image in use.

use std::sync::Arc;

use cellblock_cache::Objects;
use cellblock_exec::Result;

use super::layers;
use crate::{
    engine::TickingEngine,
    fs::Layer,
    memory::{Guest, MemoryImage},
};

/// An image in use.
#[derive(Debug)]
pub struct LoadedImage {
    pub ticking: Arc<TickingEngine>,
    pub guest: Guest,
    /// The name of the guest object. A frozen session can only be resumed with the same guest.
    pub guest_id: String,
    pub image: Arc<MemoryImage>,
    pub packages: Vec<(String, String)>,
    pub python: String,
    /// The library layer and its key.
    pub library: (String, Arc<Layer>),
    /// The cache of the image.
    pub objects: Objects,
}

impl LoadedImage {
    /// Returns the layer called `key`.
    pub fn layer(&self, key: &str) -> Result<Arc<Layer>> {
        if key == self.library.0 {
            return Ok(self.library.1.clone());
        }
        layers::open(&self.objects, key)
    }
}
