//! Installing packages for the guest: pure-Python wheels, as a read-only layer.
//!
//! The user's installer resolves and downloads; it runs no package code. Packages that are linked
//! into the guest count as installed: the resolver gets an empty wheel for each of them. The result
//! is stored as a layer, named by the requirements, so that the next session with the same
//! requirements needs no resolver.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use cellblock_cache::{object_id, read_json, storage_error, visit_files};
use cellblock_exec::{Requirement, Result};
use cellblock_packages::{
    InstalledPackage, WheelRequest, WheelTarget, install_wheels, installed_packages,
    normalized_name,
};
use serde::{Deserialize, Serialize};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    layers::{LAYER, LayerWriter},
    loaded::LoadedImage,
};
use crate::python::literal;

/// Changed when the way packages are stored changes.
const FORMAT: &[u8] = b"1";
/// The maximum size of one installation in bytes, which the host keeps mapped.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

const SET: &str = "set.json";
const LIST: &str = "packages.json";

/// Packages that were installed together: one layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSet {
    /// The layer's object.
    pub key: String,
    /// The packages in it.
    pub packages: Vec<InstalledPackage>,
}

impl PackageSet {
    /// Returns `name==version` of each package.
    pub fn versions(&self) -> impl Iterator<Item = String> {
        self.packages.iter().map(|package| format!("{}=={}", package.name, package.version))
    }

    /// Returns the directory where the layer is mounted.
    pub fn directory(&self, packages: &str) -> String {
        format!("{packages}/{}", self.key)
    }

    /// Returns Python that makes the packages importable.
    pub fn use_in_python(&self, packages: &str) -> String {
        format!("__import__('sys').path.append({})\n", literal(&self.directory(packages)))
    }
}

/// Installs `packages` for the guest of `loaded`, beside the sets that it has. The new set is empty
/// if it has all of them.
pub async fn install(
    loaded: &LoadedImage,
    present: &[PackageSet],
    packages: &[Requirement],
) -> Result<PackageSet> {
    let mut requirements: Vec<String> = packages.iter().map(Requirement::to_string).collect();
    requirements.sort();
    requirements.dedup();
    let asked = requirements.join(" ");
    let present_keys: Vec<&str> = present.iter().map(|set| set.key.as_str()).collect();
    let id = object_id(
        "packages",
        &[FORMAT, loaded.guest_id.as_bytes(), asked.as_bytes(), present_keys.join(" ").as_bytes()],
    );
    let mut provided = loaded.packages.clone();
    let installed = present.iter().flat_map(|set| &set.packages);
    provided.extend(installed.map(|package| (package.name.clone(), package.version.clone())));
    let objects = &loaded.objects;
    let directory = objects
        .get_or_make(&id, async |into| {
            let work = objects.temporary()?;
            let target = resolve(work.path(), &loaded.python, &provided, &requirements).await?;
            store(into, &target, &provided, &id, &asked)
        })
        .await?;
    read_json(&directory.join(SET))
}

/// Writes the list of the sets of a frozen session.
pub fn write_list(directory: &Path, sets: &[PackageSet]) -> Result<()> {
    let path = directory.join(LIST);
    serde_json::to_vec_pretty(sets)
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&path, text))
        .map_err(|source| storage_error("write", &path, source))
}

/// Reads a list that [`write_list`] wrote.
pub fn read_list(directory: &Path) -> Result<Vec<PackageSet>> {
    read_json(&directory.join(LIST))
}

/// Resolves, downloads and unpacks packages below `work`; returns the directory.
async fn resolve(
    work: &Path,
    python: &str,
    provided: &[(String, String)],
    requirements: &[String],
) -> Result<std::path::PathBuf> {
    let wheels = work.join("provided");
    write_empty_wheels(&wheels, provided)
        .map_err(|source| storage_error("write", &wheels, source))?;
    let request = WheelRequest {
        packages: &requirements.join(" "),
        requirements,
        target: WheelTarget::PurePython(python),
        arguments: &["--find-links", &wheels.display().to_string()],
        check: refuse_native_modules,
        progress: None,
    };
    install_wheels(work, request).await
}

/// Refuses packages with native modules: uv can choose a wheel for the host where a pure one
/// exists.
fn refuse_native_modules(directory: &Path) -> Result<(), String> {
    match native_module(directory) {
        Some(file) => Err(format!(
            "it brings native code ({file}), which WebAssembly cannot load; only pure-Python \
             wheels work here"
        )),
        None => Ok(()),
    }
}

fn native_module(directory: &Path) -> Option<String> {
    let native =
        |name: &str| [".so", ".pyd", ".dylib", ".dll"].iter().any(|ending| name.ends_with(ending));
    let mut found = None;
    let _ = visit_files(directory, &mut |name, _| {
        if native(name) && found.is_none() {
            found = Some(name.to_owned());
        }
        Ok(())
    });
    found
}

/// Writes an empty wheel for each package that the guest has.
fn write_empty_wheels(directory: &Path, provided: &[(String, String)]) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (name, version) in provided {
        let escaped = normalized_name(name).replace('-', "_");
        let info = format!("{escaped}-{version}.dist-info");
        let mut wheel = ZipWriter::new(File::create(
            directory.join(format!("{escaped}-{version}-py3-none-any.whl")),
        )?);
        let files = [
            ("METADATA", format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")),
            (
                "WHEEL",
                "Wheel-Version: 1.0\nGenerator: cellblock\nRoot-Is-Purelib: true\n\
                 Tag: py3-none-any\n"
                    .to_owned(),
            ),
            ("RECORD", format!("{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")),
        ];
        for (file, content) in files {
            wheel.start_file(format!("{info}/{file}"), SimpleFileOptions::default())?;
            wheel.write_all(content.as_bytes())?;
        }
        wheel.finish()?;
    }
    Ok(())
}

/// Packs the directory `target` as a layer, without the empty wheels.
fn store(
    into: &Path,
    target: &Path,
    provided: &[(String, String)],
    key: &str,
    asked: &str,
) -> Result<()> {
    let provided: Vec<String> = provided.iter().map(|(name, _)| normalized_name(name)).collect();
    let is_provided = |package: &str| provided.iter().any(|name| name == package);
    let layer = into.join(LAYER);
    let pack = || {
        let mut writer = LayerWriter::create(&layer)?;
        let mut bytes = 0;
        visit_files(target, &mut |name, path| {
            let top = name.split('/').next().unwrap_or(name);
            let info = top.strip_suffix(".dist-info").and_then(|info| info.rsplit_once('-'));
            // Skips the empty wheels, programs for a host's shell, and bytecode of another Python.
            if info.is_some_and(|(package, _)| is_provided(&normalized_name(package)))
                || top == "bin"
                || name.ends_with(".pyc")
            {
                return Ok(());
            }
            bytes += fs::metadata(path)?.len();
            if bytes > MAX_BYTES {
                return Err(io::Error::other(format!("{asked} is larger than {MAX_BYTES} bytes")));
            }
            writer.add(name, &fs::read(path)?)
        })?;
        writer.finish()?;
        installed_packages(target)
    };
    let mut packages = pack().map_err(|source| storage_error("write", &layer, source))?;
    packages.retain(|package| !is_provided(&package.name));
    // A set without packages is stored too, but its layer is never mounted.
    let path = into.join(SET);
    serde_json::to_vec_pretty(&PackageSet { key: key.to_owned(), packages })
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&path, text))
        .map_err(|source| storage_error("write", &path, source))
}
