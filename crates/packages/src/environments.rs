//! Named sets of packages for interpreters of this machine, kept until they are removed.
//!
//! An environment is a list of requirements, `environments/<name>.json` in the cache. The packages
//! themselves are objects that [`wheels`] makes of the list, one for each interpreter.

use std::{fs, io, path::PathBuf};

use cellblock_cache::{ObjectLock, Objects, storage_error};
use cellblock_exec::{BoxFuture, Error, Progress, Requirement, Result};
use serde::{Deserialize, Serialize};

use crate::{
    interpreter::Interpreter,
    wheels::{self, WheelSet},
};

/// An environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The requirements, sorted.
    pub requirements: Vec<Requirement>,
    /// The objects made of them, which must not be removed while the environment exists.
    pub objects: Vec<String>,
}

/// Reads the environment `name`; returns an empty one if it does not exist.
///
/// # Errors
/// [`Error::Invalid`] for an invalid name; [`Error::Storage`] when it cannot be read.
pub fn read(objects: &Objects, name: &str) -> Result<Environment> {
    let path = path(objects, name)?;
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|source| storage_error("parse", &path, source.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Environment::default()),
        Err(source) => Err(storage_error("read", &path, source)),
    }
}

/// Returns the names of all environments, sorted.
///
/// # Errors
/// [`Error::Storage`] when the cache cannot be read.
pub fn names(objects: &Objects) -> Result<Vec<String>> {
    let directory = directory(objects);
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(storage_error("read", &directory, source)),
    };
    let name =
        |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// Adds `requirements` to the environment `name`, and returns its packages for an interpreter.
/// Without requirements, it returns the packages that the environment has.
///
/// The environment changes only if all of its packages, old and new, can be installed together. Of
/// two processes that add to it at the same time, one waits for the other.
///
/// # Errors
/// As [`wheels::install`]; also [`Error::Invalid`] for an invalid name.
pub fn install<'i>(
    objects: &'i Objects,
    name: &'i str,
    interpreter: &'i Interpreter,
    requirements: &'i [Requirement],
    progress: &'i dyn Progress,
) -> BoxFuture<'i, Result<WheelSet>> {
    Box::pin(async move {
        let path = path(objects, name)?;
        if requirements.is_empty() {
            let environment = read(objects, name)?;
            let set =
                wheels::install(objects, interpreter, &environment.requirements, progress).await?;
            if environment.objects.contains(&set.key) || environment.requirements.is_empty() {
                return Ok(set);
            }
        }
        let _lock = lock(objects, name).await?;
        let mut environment = read(objects, name)?;
        let requirements = wheels::union(&environment.requirements, requirements);
        let set = wheels::install(objects, interpreter, &requirements, progress).await?;
        if requirements != environment.requirements {
            environment = Environment { requirements, objects: Vec::new() };
        }
        if !environment.objects.contains(&set.key) {
            environment.objects.push(set.key.clone());
            objects.write_json(&path, &environment)?;
        }
        Ok(set)
    })
}

/// Removes the environment `name`; returns false if it does not exist. Its packages stay in the
/// cache until the cache is pruned.
///
/// # Errors
/// [`Error::Invalid`] for an invalid name; [`Error::Storage`] when it cannot be removed.
pub fn remove<'r>(objects: &'r Objects, name: &'r str) -> BoxFuture<'r, Result<bool>> {
    Box::pin(async move {
        let path = path(objects, name)?;
        let _lock = lock(objects, name).await?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(storage_error("remove", &path, source)),
        }
    })
}

/// Returns the names of the objects that environments need.
///
/// # Errors
/// [`Error::Storage`] when an environment cannot be read.
pub fn needed_objects(objects: &Objects) -> Result<Vec<String>> {
    let mut needed = Vec::new();
    for name in names(objects)? {
        needed.extend(read(objects, &name)?.objects);
    }
    Ok(needed)
}

/// Waits for the lock that is held while an environment changes.
async fn lock(objects: &Objects, name: &str) -> Result<ObjectLock> {
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
