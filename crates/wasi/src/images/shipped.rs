//! The images that cellblock ships: made from a source package, as their manifests say.

use std::sync::Arc;

use cellblock_cache::{Objects, Rehash, object_id, storage_error};
use cellblock_exec::{Error, Progress, Result};
use wasmtime::Engine;

use super::{
    boot, code, guest,
    info::{ImageInfo, ImageState},
    loaded::Loaded,
    manifest::{self, Manifest},
    stored,
};
use crate::{
    engine::{self, Ticking},
    fs::Layer,
    imports,
    memory::{Guest, sys},
};

/// The names of an image's objects.
pub(super) struct Ids {
    pub(super) guest: String,
    pub(super) code: String,
    pub(super) image: String,
}

/// The names of all of them.
pub(super) fn names() -> Vec<String> {
    manifest::shipped().into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// Loads an image, making it first if it is not there. With `fuel`, turns are limited to that many instructions.
pub(super) async fn load(
    objects: &Objects,
    name: &str,
    fuel: Option<u64>,
    progress: &dyn Progress,
) -> Result<Loaded> {
    let (manifest, text) = find(name)?;
    let ids = ids(&manifest, text, fuel.is_some())?;
    let directory = objects
        .get_or_make(&ids.guest, async |into| guest::make(into, &manifest, progress).await)
        .await?;
    let code = objects
        .get_or_make(&ids.code, async |into| {
            code::make(into, &directory, fuel.is_some(), progress).await
        })
        .await?;
    let ticking = Ticking::start(&engine::config(fuel.is_some())).map_err(failed)?;
    let module = sys::load_code(&ticking.engine, &code.join(code::CODE)).map_err(failed)?;
    let linker = imports::linker(&ticking.engine).map_err(failed)?;
    let guest = Guest { instances: linker.instantiate_pre(&module).map_err(failed)?, fuel };
    let library_path = directory.join(guest::LIBRARY);
    let layer = Layer::open(&library_path)
        .map_err(|source| storage_error("read", &library_path, source))?;
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

/// What is known of an image.
pub(super) fn info(objects: &Objects, name: &str, rehash: Rehash) -> Result<ImageInfo> {
    let (manifest, text) = find(name)?;
    let ids = ids(&manifest, text, false)?;
    let all = [&ids.guest, &ids.code, &ids.image];
    let state = ImageState::of(objects, &all, rehash);
    let packages = match state {
        ImageState::Ready => guest::packages(&objects.path(&ids.guest))?,
        _ => Vec::new(),
    };
    let bytes = all.into_iter().map(|id| objects.size(id)).sum();
    Ok(ImageInfo { name: name.to_owned(), state, bytes, packages, python: manifest.python })
}

/// The objects of an image, with and without fuel.
pub(super) fn objects_of(name: &str) -> Result<Vec<String>> {
    let (manifest, text) = find(name)?;
    let (plain, fuel) = (ids(&manifest, text, false)?, ids(&manifest, text, true)?);
    Ok(vec![plain.image, plain.code, fuel.code, plain.guest])
}

/// Removes an image; gives the bytes freed.
pub(super) fn remove(objects: &Objects, name: &str) -> Result<u64> {
    objects_of(name)?.iter().map(|id| objects.remove(id)).sum()
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
pub(super) fn find(name: &str) -> Result<(Manifest, &'static str)> {
    manifest::find(name).ok_or_else(|| {
        let known: Vec<&str> = manifest::shipped().into_iter().map(|(name, _)| name).collect();
        let why = format!(
            "there is no image called {name}; shipped: {}; see `cellblock image list`",
            known.join(", ")
        );
        Error::Invalid { what: "image", why }
    })
}

fn failed(error: wasmtime::Error) -> Error {
    Error::Start { what: "the WebAssembly engine".to_owned(), source: error.into() }
}
