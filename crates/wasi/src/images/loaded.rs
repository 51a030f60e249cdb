//! An image in use.

use std::sync::Arc;

use cellblock_cache::Objects;
use cellblock_exec::Result;

use super::layers;
use crate::{
    engine::Ticking,
    fs::Layer,
    memory::{Guest, MemoryImage},
};

/// An image in use.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) ticking: Arc<Ticking>,
    pub(crate) guest: Guest,
    /// The guest object's name, to which frozen sessions are bound.
    pub(crate) guest_id: String,
    pub(crate) image: Arc<MemoryImage>,
    pub(crate) packages: Vec<(String, String)>,
    pub(crate) python: String,
    /// The library layer and its key.
    pub(super) library: (String, Arc<Layer>),
    pub(super) objects: Objects,
}

impl Loaded {
    /// The layer called `key`.
    pub(crate) fn layer(&self, key: &str) -> Result<Arc<Layer>> {
        if key == self.library.0 {
            return Ok(self.library.1.clone());
        }
        layers::open(&self.objects, key)
    }

    /// The cache that the image comes from.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }
}
