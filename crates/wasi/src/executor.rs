//! The executor: opens sessions on an image.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use cellblock_exec::{
    BoxFuture, Capabilities, Error, Executor, Isolation, Language, Limit, Limits, Network,
    Progress, Result, Session, SessionSpec,
};

use crate::{
    images::{ImageStore, packages, snapshot},
    memory::Template,
    session::{ExecutorState, NAME, WasiSession},
};

/// The options of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The image that sessions start from. Default `python`.
    pub image: String,
    /// The maximum number of instructions (wasmtime's fuel) of a block. `None`, the default, does
    /// not count them. With a maximum, the same program stops at the same place on every run, and
    /// runs at about half the speed.
    pub fuel: Option<u64>,
    /// The maximum number of idle instances that are kept for the next sessions. Default: two for
    /// each processor.
    pub idle: usize,
}

impl Default for Options {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { image: "python".to_owned(), fuel: None, idle: 2 * processors }
    }
}

/// Runs Python in WebAssembly.
#[derive(Debug)]
pub struct WasiExecutor {
    shared: Arc<ExecutorState>,
    capabilities: Capabilities,
    image: String,
}

impl WasiExecutor {
    /// Starts an executor on an image, which is pulled if it is not in the cache.
    ///
    /// # Errors
    /// As [`ImageStore::pull`].
    pub fn start(
        store: ImageStore,
        options: Options,
        progress: &dyn Progress,
    ) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let loaded = store.load(&options.image, options.fuel, progress).await?;
            let (guest, image) = (loaded.guest.clone(), loaded.image.clone());
            let template = Arc::new(Template::new(guest, image, options.idle));
            Ok(Self {
                shared: Arc::new(ExecutorState { loaded, template }),
                capabilities: capabilities(),
                image: options.image,
            })
        })
    }

    /// Returns the names and versions of the packages that every session has.
    pub fn packages(&self) -> &[(String, String)] {
        &self.shared.loaded.packages
    }

    #[cfg(test)]
    pub(crate) fn template(&self) -> &Template {
        &self.shared.template
    }

    fn check(&self, spec: &SessionSpec) -> Result<()> {
        let min_memory = self.shared.loaded.image.bytes().len() as u64;
        self.capabilities.check(NAME, spec, min_memory)
    }
}

#[async_trait]
impl Executor for WasiExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        self.check(&spec)?;
        if spec.network != Network::Denied {
            return Err(Error::Unsupported(
                "the wasi executor has no network to allow; use another executor".to_owned(),
            ));
        }
        if let Some(image) = spec.image.filter(|image| *image != self.image) {
            let why = format!("this executor was started with image {}, not {image}", self.image);
            return Err(Error::Invalid { what: "image", why });
        }
        let template = self.shared.template.clone();
        let slot = template.acquire().await.map_err(start_failed)?;
        let mut session =
            WasiSession::new(self.shared.clone(), template, slot, spec.limits, spec.environment);
        for file in spec.files {
            session.write_file(file).await?;
        }
        Ok(Box::new(session))
    }

    async fn resume(&self, frozen: &Path, limits: Limits) -> Result<Box<dyn Session>> {
        self.check(&SessionSpec { limits: limits.clone(), ..SessionSpec::default() })?;
        let loaded = &self.shared.loaded;
        let image = snapshot::read(frozen, &loaded.guest_id, |key| loaded.layer(key))?;
        let installed = packages::read_list(frozen)?;
        if limits.memory < image.bytes().len() as u64 {
            let why = format!(
                "the frozen session has {} bytes; give at least as many",
                image.bytes().len()
            );
            return Err(Error::Invalid { what: "memory limit", why });
        }
        let template = Arc::new(Template::new(loaded.guest.clone(), Arc::new(image), 0));
        let slot = template.acquire().await.map_err(start_failed)?;
        Ok(Box::new(WasiSession::resumed(self.shared.clone(), template, slot, limits, installed)))
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        languages: vec![Language::PYTHON],
        isolation: Isolation::Wasm,
        limits: vec![
            Limit::Wall,
            Limit::Cpu,
            Limit::Memory,
            Limit::Output,
            Limit::Disk,
            Limit::Files,
            // A guest cannot start processes, so every limit on them holds.
            Limit::Processes,
        ],
        watched: Vec::new(),
        network: false,
        state: true,
        fork: true,
        freeze: true,
        install: true,
    }
}

fn start_failed(error: wasmtime::Error) -> Error {
    Error::Start { what: "an interpreter".to_owned(), source: error.into() }
}
