//! Named sets of packages for interpreters of this machine, which are kept until they are removed.
//!
//! An environment is a list of requirements, `environments/<name>.json` in the cache; the packages themselves are objects
//! that [`wheels`] makes of it, one for each interpreter.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use cellblock_exec::{Error, Progress, Requirement, Result};
use serde::{Deserialize, Serialize};

use crate::{
    objects::{Objects, storage},
    temporary::write_whole,
    wheels::{self, Wanted, WheelSet},
};

/// An environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// What was asked for, sorted.
    pub requirements: Vec<Requirement>,
    /// The objects that were made of it. They are not to be removed while it is kept.
    pub objects: Vec<String>,
}

/// The environment `name`; an empty one if there is none.
///
/// # Errors
/// [`Error::Invalid`] for a name that cannot be one; [`Error::Storage`] when it cannot be read.
pub fn read(objects: &Objects, name: &str) -> Result<Environment> {
    let path = path(objects, name)?;
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|source| storage("understand", &path, source.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Environment::default()),
        Err(source) => Err(storage("read", &path, source)),
    }
}

/// The names of all environments, sorted.
///
/// # Errors
/// [`Error::Storage`] when the cache cannot be read.
pub fn names(objects: &Objects) -> Result<Vec<String>> {
    let directory = directory(objects);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(storage("read", &directory, source)),
    };
    let name =
        |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// The packages of the environment `name` for an interpreter, after `packages` have been added to it; with none, as it is.
/// It is changed only if all of its packages, old and new, could be installed together. Two who add to it at once do so one
/// after the other.
///
/// # Errors
/// Those of [`wheels::install`]; [`Error::Invalid`] for a name that cannot be one.
pub async fn install(
    objects: &Objects,
    name: &str,
    wanted: Wanted<'_>,
    progress: &dyn Progress,
) -> Result<WheelSet> {
    let path = path(objects, name)?;
    if wanted.requirements.is_empty() {
        let environment = read(objects, name)?;
        let set = wheels::install(
            objects,
            Wanted { requirements: &environment.requirements, ..wanted },
            progress,
        )
        .await?;
        if environment.objects.contains(&set.key) || environment.requirements.is_empty() {
            return Ok(set);
        }
    }
    let _lock = lock(objects, name).await?;
    let mut environment = read(objects, name)?;
    let requirements = wheels::union(&environment.requirements, wanted.requirements);
    let set = wheels::install(objects, Wanted { requirements: &requirements, ..wanted }, progress)
        .await?;
    if requirements != environment.requirements {
        environment = Environment { requirements, objects: Vec::new() };
    }
    if !environment.objects.contains(&set.key) {
        environment.objects.push(set.key.clone());
        write_whole(objects, &path, &environment)?;
    }
    Ok(set)
}

/// Removes the environment `name`; tells whether there was one. Its packages stay in the cache until it is pruned.
///
/// # Errors
/// [`Error::Invalid`] for a name that cannot be one; [`Error::Storage`] when it cannot be removed.
pub async fn remove(objects: &Objects, name: &str) -> Result<bool> {
    let path = path(objects, name)?;
    let _lock = lock(objects, name).await?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(storage("remove", &path, source)),
    }
}

/// The objects that environments need.
///
/// # Errors
/// [`Error::Storage`] when an environment cannot be read.
pub fn needed(objects: &Objects) -> Result<Vec<String>> {
    let mut needed = Vec::new();
    for name in names(objects)? {
        needed.extend(read(objects, &name)?.objects);
    }
    Ok(needed)
}

/// Held while an environment changes.
async fn lock(objects: &Objects, name: &str) -> Result<File> {
    objects.lock(&format!("environment-{name}")).await
}

fn directory(objects: &Objects) -> PathBuf {
    objects.root.join("environments")
}

fn path(objects: &Objects, name: &str) -> Result<PathBuf> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(valid) {
        let why = format!("{name:?}: use lower-case letters, digits and dashes, at most 64");
        return Err(Error::Invalid { what: "environment name", why });
    }
    Ok(directory(objects).join(format!("{name}.json")))
}
