//! The images of a cache directory: pulling, listing, checking, removing and loading them.

use std::{path::PathBuf, sync::Arc};

use cellblock_exec::{Error, Result};
use wasmtime::Engine;

use super::{
    boot, code, extend, guest,
    manifest::{self, Manifest},
    objects::{Check, Objects, object_id},
    progress::Progress,
    stored,
};
use crate::{
    engine::{self, Ticking},
    fs::Layer,
    host,
    memory::{Guest, MemoryImage, sys},
};

/// The images of one cache directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    /// The cache directory.
    pub root: PathBuf,
    pub(crate) objects: Objects,
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name, as `--image` takes it.
    pub name: String,
    /// Whether it can be used.
    pub state: ImageState,
    /// What it takes on disk, in bytes.
    pub bytes: u64,
    /// The packages in it: names and versions. Empty when it is not here.
    pub packages: Vec<(String, String)>,
    /// The version of Python in it.
    pub python: String,
}

/// Whether an image can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageState {
    /// It is here and sound.
    Ready,
    /// It has not been pulled, or not to the end; it will be on first use.
    Available,
    /// A part of it is damaged; it will be made again on next use.
    Corrupt {
        /// What is wrong.
        why: String,
    },
}

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
    library: (String, Arc<Layer>),
    objects: Objects,
}

/// The names of an image's objects.
pub(super) struct Ids {
    pub(super) guest: String,
    pub(super) code: String,
    pub(super) image: String,
}

impl ImageStore {
    /// The user's cache: `$CELLBLOCK_CACHE`, else `$XDG_CACHE_HOME/cellblock`, else `~/.cache/cellblock`.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be made or is not the user's own; [`Error::Invalid`] when none of the variables
    /// and no home directory is set.
    pub fn in_user_cache() -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("CELLBLOCK_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("cellblock")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache").join("cellblock")))
            .ok_or_else(|| Error::Invalid {
                what: "cache directory",
                why: "neither CELLBLOCK_CACHE, XDG_CACHE_HOME nor HOME is set; set CELLBLOCK_CACHE".to_owned(),
            })?;
        Self::at(root)
    }

    /// The cache at `root`, made if it is not there.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be made or is not the user's own.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        Ok(Self { objects: Objects::at(root.clone())?, root })
    }

    /// Makes an image ready: fetches its guest, compiles it, boots it and takes its memory image. Steps that were done
    /// before are not repeated.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image; [`Error::Install`] when it cannot be fetched; [`Error::Storage`] when the
    /// disk is full; [`Error::Start`] when the guest does not boot.
    pub async fn pull(&self, name: &str, progress: &dyn Progress) -> Result<ImageInfo> {
        self.load(name, None, progress).await?;
        self.info(name, Check::Stamps)
    }

    /// All images: those that cellblock ships and those made by [`ImageStore::extend`].
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let shipped = manifest::shipped().into_iter().map(|(name, _)| name.to_owned());
        shipped.chain(extend::names(self)?).map(|name| self.info(&name, Check::Stamps)).collect()
    }

    /// Reads an image whole and checks every hash.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image. Damage is not an error but a state of the result.
    pub fn verify(&self, name: &str) -> Result<ImageInfo> {
        self.info(name, Check::Hashes)
    }

    /// Removes an image; gives the bytes freed. What other images share with it stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image; [`Error::Storage`] when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<u64> {
        if extend::exists(self, name) {
            return extend::remove(self, name);
        }
        let (manifest, text) = shipped(name)?;
        let mut freed = 0;
        for extended in extend::names(self)? {
            if extend::base(self, &extended)? == name {
                freed += extend::remove(self, &extended)?;
            }
        }
        for fuel in [false, true] {
            let ids = ids(&manifest, text, fuel)?;
            for id in [&ids.image, &ids.code, &ids.guest] {
                freed += self.objects.remove(id)?;
            }
        }
        Ok(freed)
    }

    /// Loads an image, making it first if it is not there. With `fuel`, turns are limited to that many instructions.
    pub(crate) async fn load(&self, name: &str, fuel: Option<u64>, progress: &dyn Progress) -> Result<Loaded> {
        if extend::exists(self, name) {
            return extend::load(self, name, fuel, progress).await;
        }
        let (manifest, text) = shipped(name)?;
        let ids = ids(&manifest, text, fuel.is_some())?;
        let objects = &self.objects;
        let directory =
            objects.get_or_make(&ids.guest, async |into| guest::make(into, &manifest, progress).await).await?;
        let code = objects
            .get_or_make(&ids.code, async |into| code::make(into, &directory, fuel.is_some(), progress).await)
            .await?;
        let ticking = Ticking::start(&engine::config(fuel.is_some())).map_err(failed)?;
        let module = sys::load_code(&ticking.engine, &code.join(code::CODE)).map_err(failed)?;
        let linker = host::linker(&ticking.engine).map_err(failed)?;
        let guest = Guest { instances: linker.instantiate_pre(&module).map_err(failed)?, fuel };
        let library_path = directory.join(guest::LIBRARY);
        let layer =
            Layer::open(&library_path).map_err(|source| super::objects::storage("read", &library_path, source))?;
        let library = (ids.guest.clone(), Arc::new(layer));
        let image_path = objects
            .get_or_make(&ids.image, async |into| {
                progress.step("booting");
                let facts = guest::facts(&directory)?;
                let library = (library.0.as_str(), library.1.clone());
                // Booting takes no fuel: it is not the program's.
                let slot = boot::boot(&guest, &directory, &facts, &manifest, library).await?;
                stored::write(into, &ids.guest, slot.bytes(), &facts.globals, &slot.store.data().fs)
            })
            .await?;
        progress.finish();
        let mut loaded = Loaded {
            image: Arc::new(stored::read(&image_path, &ids.guest, |_| Ok(library.1.clone()))?),
            packages: guest::packages(&directory)?,
            python: manifest.python,
            guest_id: ids.guest,
            objects: objects.clone(),
            ticking,
            guest,
            library,
        };
        loaded.packages.sort();
        Ok(loaded)
    }

    fn info(&self, name: &str, check: Check) -> Result<ImageInfo> {
        if extend::exists(self, name) {
            return extend::info(self, name, check);
        }
        let (manifest, text) = shipped(name)?;
        let ids = ids(&manifest, text, false)?;
        let all = [&ids.guest, &ids.code, &ids.image];
        let mut state = ImageState::Ready;
        for id in all {
            match self.objects.check(id, check) {
                Ok(true) => {}
                Ok(false) => state = ImageState::Available,
                Err(error) => {
                    state = ImageState::Corrupt { why: describe(&error) };
                    break;
                }
            }
        }
        let packages =
            if state == ImageState::Ready { guest::packages(&self.objects.path(&ids.guest))? } else { Vec::new() };
        let bytes = all.into_iter().map(|id| self.objects.size(id)).sum();
        Ok(ImageInfo { name: name.to_owned(), state, bytes, packages, python: manifest.python })
    }
}

impl Loaded {
    /// The layer called `key`.
    pub(crate) fn layer(&self, key: &str) -> Result<Arc<Layer>> {
        if key == self.library.0 {
            return Ok(self.library.1.clone());
        }
        crate::packages::open_layer(&self.objects, key)
    }

    /// The cache that the image comes from.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }
}

/// The names of the objects of a shipped image.
pub(super) fn ids(manifest: &Manifest, text: &str, fuel: bool) -> Result<Ids> {
    let engine = Engine::new(&engine::config(fuel)).map_err(failed)?;
    let guest = guest::id(manifest);
    let code = code::id(&guest::module_id(manifest), &engine);
    let recipe = boot::recipe(text);
    let image = object_id("image", &[&[guest.as_bytes()][..], &recipe[..]].concat());
    Ok(Ids { guest, code, image })
}

/// A shipped image's manifest.
pub(super) fn shipped(name: &str) -> Result<(Manifest, &'static str)> {
    manifest::find(name).ok_or_else(|| {
        let known: Vec<&str> = manifest::shipped().into_iter().map(|(name, _)| name).collect();
        let why = format!("there is no image called {name}; shipped: {}; see `cellblock image list`", known.join(", "));
        Error::Invalid { what: "image", why }
    })
}

/// An error with its causes, in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn failed(error: wasmtime::Error) -> Error {
    Error::Start { what: "the WebAssembly engine".to_owned(), source: error.into() }
}
