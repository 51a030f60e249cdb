//! What an image is made from: the manifest in `sandbox-images/`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    /// The version of Python inside, as installers know it.
    pub(crate) python: String,
    pub(crate) source: Source,
    pub(crate) layout: Layout,
    /// Environment variables of the interpreter.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) warmup: Warmup,
}

/// The package that holds the guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) package: String,
    pub(crate) version: String,
    /// Of the wheel.
    pub(crate) sha256: String,
    /// The size of the wheel's content, for the progress bar.
    pub(crate) bytes: u64,
    pub(crate) module: SourceFile,
    /// The standard library and the packages that are linked into the guest.
    pub(crate) library: SourceFile,
    /// Lines `package NAME VERSION`: what is in it.
    pub(crate) packages: SourceFile,
}

/// A file of the source package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) sha256: String,
}

/// Where the guest expects its files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// The library's directory; the layer is mounted here.
    pub(crate) mount: String,
    /// The library's name in it.
    pub(crate) library: String,
    /// Archives in the library that the guest wants unpacked: the member, and the directory (below the library's name).
    pub(crate) unpack: BTreeMap<String, String>,
}

/// What happens before the memory image is taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Warmup {
    /// Modules to import.
    pub(crate) imports: Vec<String>,
    /// Memory, in bytes, that the guest has free when the image is taken: a program that needs no more does not grow
    /// its memory, so its slot can be used again.
    pub(crate) headroom: u64,
}

/// The manifests that cellblock ships, by name.
pub(crate) fn shipped() -> [(&'static str, &'static str); 1] {
    [("python", include_str!("../../../../sandbox-images/python/image.toml"))]
}

/// The shipped manifest called `name`, with its text; `None` if there is none.
pub(crate) fn find(name: &str) -> Option<(Manifest, &'static str)> {
    let (_, text) = shipped().into_iter().find(|(shipped, _)| *shipped == name)?;
    // A test reads every shipped manifest, so this one can be read.
    Some((toml::from_str(text).ok()?, text))
}
