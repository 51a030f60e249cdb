//! The manifest of an image, in `sandbox-images/`: the package that it is made from, with hashes.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    /// The version of its Python, in the form for an installer.
    pub python: String,
    pub source: SourcePackage,
    pub layout: Layout,
    /// Environment variables of the interpreter.
    pub environment: BTreeMap<String, String>,
    pub warmup: Warmup,
}

/// The package that holds the guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePackage {
    pub package: String,
    pub version: String,
    /// The hash of the wheel.
    pub sha256: String,
    /// The size of the wheel's content in bytes, for the progress bar.
    pub bytes: u64,
    pub module: SourceFile,
    /// The standard library and the packages that are linked into the guest.
    pub library: SourceFile,
    /// The list of these packages, with lines `package NAME VERSION`.
    pub packages: SourceFile,
}

/// A file of the source package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    pub path: String,
    pub sha256: String,
}

/// The places where the guest expects its files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The directory where the library layer is mounted.
    pub mount: String,
    /// The name of the library in it.
    pub library: String,
    /// The archives in the library that the guest needs unpacked: each member, with its directory
    /// below the library's name.
    pub unpack: BTreeMap<String, String>,
}

/// The preparation of the guest before the memory image is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// The modules to import.
    pub imports: Vec<String>,
    /// The free memory of the guest in the image, in bytes. A program that needs no more does not
    /// grow its memory, so its slot can be reused.
    pub headroom: u64,
}

/// Returns the manifests that cellblock ships, by name.
pub fn shipped() -> [(&'static str, &'static str); 1] {
    [("python", include_str!("../../../../sandbox-images/python/image.toml"))]
}

/// Returns the shipped manifest called `name` with its text; `None` if there is none.
pub fn find(name: &str) -> Option<(Manifest, &'static str)> {
    let (_, text) = shipped().into_iter().find(|(shipped, _)| *shipped == name)?;
    // A test reads every shipped manifest, so reading does not fail.
    Some((toml::from_str(text).ok()?, text))
}
