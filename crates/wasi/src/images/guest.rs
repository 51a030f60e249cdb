//! From the source package to the parts of a guest: stripped module, initial memory, library layer.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use cellblock_cache::{Fit, Installers, Job, object_id, storage};
use cellblock_exec::{Error, Progress, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::{
    layers::LayerWriter,
    manifest::{Manifest, SourceFile},
    strip::{self, RestGlobal, StripError},
};

/// Raised when the way a module is taken apart changes, so that old objects are not used.
const MODULE_FORMAT: &[u8] = b"1";
/// Likewise for the library layer.
const LIBRARY_FORMAT: &[u8] = b"1";

/// The files of a guest object.
pub(crate) const MODULE: &str = "guest.wasm";
pub(crate) const MEMORY: &str = "memory.bin";
pub(crate) const LIBRARY: &str = "library.zip";
const PACKAGES: &str = "packages.txt";
const FACTS: &str = "guest.json";

/// What is known of a guest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) globals: Vec<RestGlobal>,
    pub(crate) functions: u64,
}

/// The name of the guest object.
pub(crate) fn id(manifest: &Manifest) -> String {
    let layout = format!("{:?}", manifest.layout);
    object_id(
        "guest",
        &[MODULE_FORMAT, LIBRARY_FORMAT, manifest.source.sha256.as_bytes(), layout.as_bytes()],
    )
}

/// What the module, and so its code, depends on.
pub(crate) fn module_id(manifest: &Manifest) -> String {
    object_id("module", &[MODULE_FORMAT, manifest.source.module.sha256.as_bytes()])
}

/// Fetches the source package and takes it apart into `directory`.
pub(crate) async fn make(
    directory: &Path,
    manifest: &Manifest,
    progress: &dyn Progress,
) -> Result<()> {
    let unpacked = directory.join("unpacked");
    fetch(&unpacked, manifest, progress).await?;
    progress.step("unpacking");
    let (manifest, directory) = (manifest.clone(), directory.to_owned());
    let work = tokio::task::spawn_blocking(move || take_apart(&unpacked, &directory, &manifest));
    work.await.map_err(|error| Error::Start {
        what: "the unpacking of the image".to_owned(),
        source: error.into(),
    })?
}

/// What is known of the guest in `directory`.
pub(crate) fn facts(directory: &Path) -> Result<Facts> {
    let path = directory.join(FACTS);
    let text = fs::read(&path).map_err(|source| storage("read", &path, source))?;
    serde_json::from_slice(&text).map_err(|source| storage("understand", &path, source.into()))
}

/// Names and versions of the packages that are linked into the guest.
pub(crate) fn packages(directory: &Path) -> Result<Vec<(String, String)>> {
    let path = directory.join(PACKAGES);
    let text = fs::read_to_string(&path).map_err(|source| storage("read", &path, source))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let (name, version) = line.strip_prefix("package ")?.split_once(' ')?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect())
}

/// Installs the source package into `target`, checked against its hash by the installer.
async fn fetch(target: &Path, manifest: &Manifest, progress: &dyn Progress) -> Result<()> {
    let source = &manifest.source;
    let wanted = format!("{} {}", source.package, source.version);
    progress.step(&format!("downloading {wanted}"));
    fs::create_dir(target).map_err(|error| storage("create", target, error))?;
    let requirements = target.with_extension("txt");
    let line = format!("{}=={} --hash=sha256:{}\n", source.package, source.version, source.sha256);
    fs::write(&requirements, line).map_err(|error| storage("write", &requirements, error))?;
    let fit = Fit::Pure(&manifest.python);
    let job = Job {
        target,
        fit,
        requirements: &requirements,
        arguments: &["--no-deps", "--require-hashes"],
    };
    let mut installers = Installers::new(fit);
    while let Some(installer) = installers.next().await {
        let watched = watch(target, source.bytes, progress);
        let result = tokio::select! {
            result = installer.install(&job) => result,
            () = watched => unreachable!("the watch goes on until it is dropped"),
        };
        match result {
            Ok(()) => {
                return fs::remove_file(&requirements)
                    .map_err(|error| storage("remove", &requirements, error));
            }
            Err(why) => installers.failed(&installer, &why),
        }
    }
    Err(installers.error(&wanted))
}

/// Shows how much has been unpacked so far; the installers do not say how much they have downloaded.
async fn watch(directory: &Path, total: u64, progress: &dyn Progress) {
    loop {
        progress.advance(unpacked_bytes(directory).min(total), total);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn unpacked_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => unpacked_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn take_apart(unpacked: &Path, directory: &Path, manifest: &Manifest) -> Result<()> {
    let source = &manifest.source;
    let module = read_checked(unpacked, &source.module)?;
    let stripped = strip::strip(&module).map_err(|error: StripError| Error::Start {
        what: format!("the guest of image {}", manifest.name),
        source: error.into(),
    })?;
    drop(module);
    let facts = Facts { globals: stripped.globals, functions: stripped.functions };
    let write = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, content).map_err(|error| storage("write", &path, error))
    };
    write(MODULE, &stripped.wasm)?;
    write(MEMORY, &stripped.memory)?;
    write(
        FACTS,
        &serde_json::to_vec_pretty(&facts)
            .map_err(|error| storage("write", directory, error.into()))?,
    )?;
    write(PACKAGES, &read_checked(unpacked, &source.packages)?)?;
    let library = read_checked(unpacked, &source.library)?;
    let path = directory.join(LIBRARY);
    write_library(&path, &library, manifest).map_err(|error| storage("write", &path, error))?;
    fs::remove_dir_all(unpacked).map_err(|error| storage("remove", unpacked, error))
}

/// The library layer: the library itself and what the guest wants unpacked of it, stored without compression so that it
/// can be used where it lies.
fn write_library(path: &Path, library: &[u8], manifest: &Manifest) -> io::Result<()> {
    let mut layer = LayerWriter::create(path)?;
    let name = &manifest.layout.library;
    layer.add(name, library)?;
    let mut archive = ZipArchive::new(io::Cursor::new(library))?;
    for (member, directory) in &manifest.layout.unpack {
        layer.add_directory(&format!("{name}/{directory}"))?;
        let mut inner = Vec::new();
        archive.by_name(member)?.read_to_end(&mut inner)?;
        let mut inner = ZipArchive::new(io::Cursor::new(inner))?;
        for index in 0..inner.len() {
            let mut member = inner.by_index(index)?;
            if member.is_file() {
                let mut content = Vec::new();
                member.read_to_end(&mut content)?;
                layer.add(&format!("{name}/{directory}/{}", member.name()?), &content)?;
            }
        }
    }
    layer.finish()
}

/// A file of the source package, if it is the one that the manifest means.
fn read_checked(unpacked: &Path, file: &SourceFile) -> Result<Vec<u8>> {
    let path = unpacked.join(&file.path);
    let content = fs::read(&path).map_err(|source| storage("read", &path, source))?;
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != file.sha256 {
        let why = format!("its sha256 is {hash}, not {} as the manifest says", file.sha256);
        return Err(storage("trust", &path, io::Error::other(why)));
    }
    Ok(content)
}
