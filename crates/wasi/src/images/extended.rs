//! Images that users make: a shipped image with packages installed and imported, so that sessions
//! do not wait for either.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cellblock_cache::{Objects, Rehash, object_id, read_json, storage_error};
use cellblock_exec::{Error, Progress, Requirement, Result};
use serde::{Deserialize, Serialize};

use super::{
    boot, guest,
    info::{ImageInfo, ImageState},
    loaded::LoadedImage,
    packages::{self, PackageSet},
    shipped, snapshot,
};
use crate::{fs::Quota, memory::Slot};

/// The recipe of an extended image.
#[derive(Debug, Serialize, Deserialize)]
struct ExtendedRecipe {
    base: String,
    requirements: Vec<Requirement>,
    set: PackageSet,
}

/// Makes the image `name`: `base` with `packages` installed and imported.
pub async fn make(
    objects: &Objects,
    base: &str,
    name: &str,
    packages: &[Requirement],
    progress: &dyn Progress,
) -> Result<()> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(valid) {
        let why = format!("{name:?}: use lower-case letters, digits and dashes, at most 64");
        return Err(Error::Invalid { what: "image name", why });
    }
    if shipped::find(name).is_ok() {
        let why = format!("{name} is the name of an image that cellblock ships; choose another");
        return Err(Error::Invalid { what: "image name", why });
    }
    // The base is a shipped image, so that the recipe says the order of all layers.
    let loaded = shipped::load(objects, base, None, progress).await?;
    progress.step("installing");
    let set = packages::install(&loaded, &[], packages).await?;
    let recipe = ExtendedRecipe { base: base.to_owned(), requirements: packages.to_vec(), set };
    make_image(objects, &loaded, &recipe, progress).await?;
    objects.write_json(&path(objects, name), &recipe)
}

/// Returns the names of the extended images, sorted.
pub fn names(objects: &Objects) -> Result<Vec<String>> {
    let directory = directory(objects);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(storage_error("read", &directory, source)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

pub fn exists(objects: &Objects, name: &str) -> bool {
    !name.contains('/') && path(objects, name).is_file()
}

/// Returns the name of the image that an extended one is made from.
pub fn base(objects: &Objects, name: &str) -> Result<String> {
    read(objects, name).map(|recipe| recipe.base)
}

pub fn remove(objects: &Objects, name: &str) -> Result<u64> {
    let recipe = read(objects, name);
    let path = path(objects, name);
    fs::remove_file(&path).map_err(|source| storage_error("remove", &path, source))?;
    // The package layer stays: sessions can be using it or have installed the same packages.
    recipe.and_then(|recipe| objects.remove(&image_id(&recipe)?))
}

/// Returns the names of the objects that an image does not share with its base.
pub fn objects_of(objects: &Objects, name: &str) -> Result<Vec<String>> {
    let recipe = read(objects, name)?;
    Ok(vec![image_id(&recipe)?, recipe.set.key])
}

pub async fn load(
    objects: &Objects,
    name: &str,
    fuel: Option<u64>,
    progress: &dyn Progress,
) -> Result<LoadedImage> {
    let mut recipe = read(objects, name)?;
    let mut loaded = shipped::load(objects, &recipe.base, fuel, progress).await?;
    if !matches!(objects.check(&recipe.set.key, Rehash::Touched), Ok(true)) {
        progress.step("installing");
        recipe.set = packages::install(&loaded, &[], &recipe.requirements).await?;
    }
    let directory = make_image(objects, &loaded, &recipe, progress).await?;
    loaded.image = Arc::new(snapshot::read(&directory, &loaded.guest_id, |key| loaded.layer(key))?);
    loaded
        .packages
        .extend(recipe.set.packages.into_iter().map(|package| (package.name, package.version)));
    loaded.packages.sort();
    Ok(loaded)
}

pub fn info(objects: &Objects, name: &str, rehash: Rehash) -> Result<ImageInfo> {
    let recipe = read(objects, name)?;
    let (manifest, text) = shipped::find(&recipe.base)?;
    let ids = shipped::ids(&manifest, text, false)?;
    let image = image_id(&recipe)?;
    let state = ImageState::of(objects, &[&ids.guest, &ids.code, &recipe.set.key, &image], rehash);
    let mut packages = guest::packages(&objects.path(&ids.guest)).unwrap_or_default();
    packages.extend(
        recipe.set.packages.iter().map(|package| (package.name.clone(), package.version.clone())),
    );
    packages.sort();
    let bytes = objects.size(&image) + objects.size(&recipe.set.key);
    Ok(ImageInfo { name: name.to_owned(), state, bytes, packages, python: manifest.python })
}

/// Makes the memory image, if it is not in the cache: that of the base with the packages imported.
async fn make_image(
    objects: &Objects,
    loaded: &LoadedImage,
    recipe: &ExtendedRecipe,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let id = image_id(recipe)?;
    objects
        .get_or_make(&id, async |into| {
            progress.step("importing");
            write_image(into, loaded, recipe).await
        })
        .await
}

async fn write_image(into: &Path, loaded: &LoadedImage, recipe: &ExtendedRecipe) -> Result<()> {
    let failed = |source: wasmtime::Error| Error::Start {
        what: "the guest".to_owned(),
        source: source.into(),
    };
    let mut slot = Slot::new(&loaded.guest, loaded.image.clone()).await.map_err(failed)?;
    let directory = recipe.set.directory(boot::PACKAGES);
    let layer = loaded.layer(&recipe.set.key)?;
    let fs = &mut slot.store.data_mut().fs;
    fs.set_quota(Quota::UNLIMITED);
    fs.mount(&directory, &recipe.set.key, layer).map_err(|errno| Error::Start {
        what: "the guest".to_owned(),
        source: format!("the packages cannot be mounted ({errno:?})").into(),
    })?;
    let asked: Vec<&str> =
        recipe.requirements.iter().map(|requirement| requirement.name.as_str()).collect();
    let packages =
        recipe.set.packages.iter().filter(|package| asked.contains(&package.name.as_str()));
    let modules: Vec<String> = packages.flat_map(|package| package.modules.clone()).collect();
    boot::import(&mut slot, &directory, &modules).await?;
    snapshot::write(
        into,
        &loaded.guest_id,
        slot.bytes(),
        &slot.image.globals,
        &slot.store.data().fs,
    )
}

fn image_id(recipe: &ExtendedRecipe) -> Result<String> {
    let (manifest, text) = shipped::find(&recipe.base)?;
    let base = shipped::ids(&manifest, text, false)?.image;
    Ok(object_id("image", &[base.as_bytes(), recipe.set.key.as_bytes()]))
}

fn read(objects: &Objects, name: &str) -> Result<ExtendedRecipe> {
    read_json(&path(objects, name))
}

fn directory(objects: &Objects) -> PathBuf {
    objects.root.join("images")
}

fn path(objects: &Objects, name: &str) -> PathBuf {
    directory(objects).join(format!("{name}.json"))
}
