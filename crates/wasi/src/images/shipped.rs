//! The images that cellblock ships. Each is made from a source package, as its manifest says.

use std::sync::Arc;

use cellblock_cache::{Objects, Rehash, object_id, storage_error};
use cellblock_exec::{Error, Progress, Result};
use wasmtime::Engine;

use super::{
    boot, code, guest,
    info::{ImageInfo, ImageState},
    loaded::LoadedImage,
    manifest::{self, Manifest},
    snapshot,
};
use crate::{
    engine::{self, TickingEngine},
    fs::Layer,
    imports,
    memory::Guest,
    sys,
};

/// The names of an image's objects.
pub struct ObjectIds {
    pub guest: String,
    pub code: String,
    pub image: String,
}

/// Returns the names of all shipped images.
pub fn names() -> Vec<String> {
    manifest::shipped().into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// Loads an image; makes it first if it is not in the cache. `fuel` is the maximum number of
/// instructions of a turn.
pub async fn load(
    objects: &Objects,
    name: &str,
    fuel: Option<u64>,
    progress: &dyn Progress,
) -> Result<LoadedImage> {
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
    let ticking = TickingEngine::start(&engine::config(fuel.is_some())).map_err(failed)?;
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
            // Booting is not limited: it is not part of a program.
            let slot = boot::boot(&guest, &directory, &facts, &manifest, library).await?;
            snapshot::write(into, &ids.guest, slot.bytes(), &facts.globals, &slot.store.data().fs)
        })
        .await?;
    let mut loaded = LoadedImage {
        image: Arc::new(snapshot::read(&image_path, &ids.guest, |_| Ok(library.1.clone()))?),
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

/// Describes an image.
pub fn info(objects: &Objects, name: &str, rehash: Rehash) -> Result<ImageInfo> {
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

/// Returns the names of all objects of an image, with and without fuel.
pub fn objects_of(name: &str) -> Result<Vec<String>> {
    let (manifest, text) = find(name)?;
    let (plain, fuel) = (ids(&manifest, text, false)?, ids(&manifest, text, true)?);
    Ok(vec![plain.image, plain.code, fuel.code, plain.guest])
}

/// Removes an image; returns the number of bytes freed.
pub fn remove(objects: &Objects, name: &str) -> Result<u64> {
    objects_of(name)?.iter().map(|id| objects.remove(id)).sum()
}

/// Returns the names of the objects of an image.
pub fn ids(manifest: &Manifest, text: &str, fuel: bool) -> Result<ObjectIds> {
    let engine = Engine::new(&engine::config(fuel)).map_err(failed)?;
    let guest = guest::id(manifest);
    let code = code::id(&guest::module_id(manifest), &engine);
    let recipe = boot::recipe(text);
    let image = object_id("image", &[&[guest.as_bytes()][..], &recipe[..]].concat());
    Ok(ObjectIds { guest, code, image })
}

/// Returns the manifest of an image, with its text.
pub fn find(name: &str) -> Result<(Manifest, &'static str)> {
    manifest::find(name).ok_or_else(|| {
        let known: Vec<&str> = manifest::shipped().into_iter().map(|(name, _)| name).collect();
        let why = format!(
            "there is no image `{name}`; shipped: {}; see `cellblock image list`",
            known.join(", ")
        );
        Error::Invalid { what: "image", why }
    })
}

fn failed(error: wasmtime::Error) -> Error {
    Error::Start { what: "the WebAssembly engine".to_owned(), source: error.into() }
}
