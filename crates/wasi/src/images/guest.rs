//! Making the parts of a guest from its source package: stripped module, initial memory, library
//! layer.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use cellblock_cache::{object_id, read_json, storage_error};
use cellblock_exec::{Error, Progress, Result};
use cellblock_packages::{UnpackProgress, WheelRequest, WheelTarget, install_wheels};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::{
    layers::LayerWriter,
    manifest::{Manifest, SourceFile},
    strip::{self, StripError},
};
use crate::memory::RestGlobal;

/// Changed when the way a module is stripped changes, so that old objects are not used.
const MODULE_FORMAT: &[u8] = b"1";
/// Changed when the way the library layer is made changes.
const LIBRARY_FORMAT: &[u8] = b"1";

/// The files of a guest object.
pub const MODULE: &str = "guest.wasm";
pub const MEMORY: &str = "memory.bin";
pub const LIBRARY: &str = "library.zip";
const PACKAGES: &str = "packages.txt";
const FACTS: &str = "guest.json";

/// The properties of a guest that its users need.
#[derive(Debug, Serialize, Deserialize)]
pub struct GuestFacts {
    pub globals: Vec<RestGlobal>,
    pub functions: u64,
}

/// Returns the name of the guest object.
pub fn id(manifest: &Manifest) -> String {
    let layout = format!("{:?}", manifest.layout);
    object_id(
        "guest",
        &[MODULE_FORMAT, LIBRARY_FORMAT, manifest.source.sha256.as_bytes(), layout.as_bytes()],
    )
}

/// Returns a name for the module, on which its native code depends.
pub fn module_id(manifest: &Manifest) -> String {
    object_id("module", &[MODULE_FORMAT, manifest.source.module.sha256.as_bytes()])
}

/// Downloads the source package and writes the parts of the guest to `directory`.
pub async fn make(directory: &Path, manifest: &Manifest, progress: &dyn Progress) -> Result<()> {
    let work = directory.join("unpacked");
    let unpacked = fetch(&work, manifest, progress).await?;
    progress.step("unpacking");
    let (manifest, directory) = (manifest.clone(), directory.to_owned());
    let task = tokio::task::spawn_blocking(move || {
        write_parts(&unpacked, &directory, &manifest)?;
        fs::remove_dir_all(&work).map_err(|error| storage_error("remove", &work, error))
    });
    task.await.map_err(|error| Error::Start {
        what: "the unpacking of the image".to_owned(),
        source: error.into(),
    })?
}

/// Reads the properties of the guest in `directory`.
pub fn facts(directory: &Path) -> Result<GuestFacts> {
    read_json(&directory.join(FACTS))
}

/// Reads the names and versions of the packages that are linked into the guest.
pub fn packages(directory: &Path) -> Result<Vec<(String, String)>> {
    let path = directory.join(PACKAGES);
    let text = fs::read_to_string(&path).map_err(|source| storage_error("read", &path, source))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let (name, version) = line.strip_prefix("package ")?.split_once(' ')?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect())
}

/// Installs the source package below `work`; the installer checks its hash. Returns the directory.
async fn fetch(work: &Path, manifest: &Manifest, progress: &dyn Progress) -> Result<PathBuf> {
    let source = &manifest.source;
    let packages = format!("{} {}", source.package, source.version);
    progress.step(&format!("downloading {packages}"));
    fs::create_dir(work).map_err(|error| storage_error("create", work, error))?;
    let line = format!("{}=={} --hash=sha256:{}", source.package, source.version, source.sha256);
    let request = WheelRequest {
        packages: &packages,
        requirements: &[line],
        target: WheelTarget::PurePython(&manifest.python),
        arguments: &["--no-deps", "--require-hashes"],
        check: |_| Ok(()),
        progress: Some(UnpackProgress { progress, total: source.bytes }),
    };
    install_wheels(work, request).await
}

/// Writes the parts of the guest in the directory `unpacked` to `directory`.
fn write_parts(unpacked: &Path, directory: &Path, manifest: &Manifest) -> Result<()> {
    let source = &manifest.source;
    let module = read_checked(unpacked, &source.module)?;
    let stripped = strip::strip(&module).map_err(|error: StripError| Error::Start {
        what: format!("the guest of image {}", manifest.name),
        source: error.into(),
    })?;
    drop(module);
    let facts = GuestFacts { globals: stripped.globals, functions: stripped.functions };
    let write = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, content).map_err(|error| storage_error("write", &path, error))
    };
    write(MODULE, &stripped.wasm)?;
    write(MEMORY, &stripped.memory)?;
    write(
        FACTS,
        &serde_json::to_vec_pretty(&facts)
            .map_err(|error| storage_error("write", directory, error.into()))?,
    )?;
    write(PACKAGES, &read_checked(unpacked, &source.packages)?)?;
    let library = read_checked(unpacked, &source.library)?;
    let path = directory.join(LIBRARY);
    write_library(&path, &library, manifest).map_err(|error| storage_error("write", &path, error))
}

/// Writes the library layer: the library itself, and the members that the guest needs unpacked. It
/// is not compressed, so that it can be mapped.
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

/// Reads a file of the source package and checks its hash.
fn read_checked(unpacked: &Path, file: &SourceFile) -> Result<Vec<u8>> {
    let path = unpacked.join(&file.path);
    let content = fs::read(&path).map_err(|source| storage_error("read", &path, source))?;
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != file.sha256 {
        let why = format!("its sha256 is {hash}, not {} as the manifest says", file.sha256);
        return Err(storage_error("trust", &path, io::Error::other(why)));
    }
    Ok(content)
}
