//! Compiling a guest to native code.

use std::{
    borrow::Cow,
    fs,
    hash::{Hash, Hasher},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cellblock_cache::{object_id, storage_error};
use cellblock_exec::{Error, Progress, Result};
use wasmtime::{CacheStore, Engine};

use super::guest;
use crate::engine;

/// The name of the file of a code object.
pub const CODE: &str = "code.cwasm";

/// Returns the name of the code object for a module. Code fits one version of wasmtime, its
/// settings and this processor.
pub fn id(module: &str, engine: &Engine) -> String {
    let mut fingerprint = FingerprintHasher(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut fingerprint);
    object_id("code", &[module.as_bytes(), fingerprint.0.finalize().as_bytes()])
}

/// Compiles the guest in the directory `guest` into `directory`, on all cores.
pub async fn make(
    directory: &Path,
    guest: &Path,
    fuel: bool,
    progress: &dyn Progress,
) -> Result<()> {
    progress.step("compiling");
    let functions = guest::facts(guest)?.functions;
    let path = guest.join(guest::MODULE);
    let module = fs::read(&path).map_err(|source| storage_error("read", &path, source))?;
    let counter = Arc::new(FunctionCounter::default());
    let mut config = engine::config(fuel);
    config.enable_incremental_compilation(counter.clone()).map_err(failed)?;
    let compiler = Engine::new(&config).map_err(failed)?;
    let mut work = tokio::task::spawn_blocking(move || compiler.precompile_module(&module));
    let all_compiled = async {
        loop {
            let compiled = counter.compiled.load(Ordering::Relaxed);
            if compiled >= functions {
                break;
            }
            progress.advance(compiled, functions);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let finished = tokio::select! {
        finished = &mut work => finished,
        () = all_compiled => {
            progress.step("linking");
            work.await
        }
    };
    let code = finished.map_err(|error| failed(error.into()))?.map_err(failed)?;
    let path = directory.join(CODE);
    fs::write(&path, code).map_err(|source| storage_error("write", &path, source))
}

fn failed(error: wasmtime::Error) -> Error {
    Error::Start {
        what: "the compilation of the guest".to_owned(),
        source: error.into_boxed_dyn_error(),
    }
}

/// A cache that stores nothing and counts the functions: the compiler does not report its progress
/// otherwise.
#[derive(Debug, Default)]
struct FunctionCounter {
    compiled: AtomicU64,
}

impl CacheStore for FunctionCounter {
    fn get(&self, _key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn insert(&self, _key: &[u8], _value: Vec<u8>) -> bool {
        true
    }
}

/// A hasher with the same result in every build, unlike the one of the standard library.
struct FingerprintHasher(blake3::Hasher);

impl Hasher for FingerprintHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
