//! Read-only layers on disk: ZIP archives without compression, which are mapped and not unpacked.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, Weak},
};

use cellblock_cache::{Objects, storage_error};
use cellblock_exec::Result;
use parking_lot::Mutex;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::fs::Layer;

/// The name of the layer's file in an object of packages.
pub const LAYER: &str = "layer.zip";

/// Opens the layer of a set of packages. A process maps it once for all its sessions.
pub fn open(objects: &Objects, key: &str) -> Result<Arc<Layer>> {
    static OPEN: Mutex<BTreeMap<String, Weak<Layer>>> = Mutex::new(BTreeMap::new());
    let path = objects.path(key).join(LAYER);
    let mut open = OPEN.lock();
    let name = path.display().to_string();
    if let Some(layer) = open.get(&name).and_then(Weak::upgrade) {
        return Ok(layer);
    }
    let layer =
        Arc::new(Layer::open(&path).map_err(|source| storage_error("read", &path, source))?);
    open.retain(|_, layer| layer.strong_count() > 0);
    open.insert(name, Arc::downgrade(&layer));
    Ok(layer)
}

/// Writes a layer's archive.
pub struct LayerWriter(ZipWriter<File>);

impl LayerWriter {
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(ZipWriter::new(File::create_new(path)?)))
    }

    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        self.0.start_file(name, options)?;
        self.0.write_all(content)
    }

    pub fn add_directory(&mut self, name: &str) -> io::Result<()> {
        Ok(self.0.add_directory(name, SimpleFileOptions::default())?)
    }

    pub fn finish(self) -> io::Result<()> {
        self.0.finish()?.sync_all()
    }
}
