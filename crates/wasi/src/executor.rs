//! The executor: opens sessions on an image.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use cellblock_exec::{
    Capabilities, Error, Executor, Isolation, Language, Limit, Limits, Network, Progress, Result,
    Session, SessionSpec,
};

use crate::{
    images::{ImageStore, stored},
    memory::Template,
    packages,
    session::{NAME, Shared, WasiSession},
};

/// How an executor is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The image that sessions start from. Default `python`.
    pub image: String,
    /// Instructions (wasmtime's fuel) that a block may use; `None`, the default, does not count them. With it the same
    /// program stops at the same place on every run, at about half the speed.
    pub fuel: Option<u64>,
    /// How many idle instances are kept for the next session. Default: two for each processor.
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
    shared: Arc<Shared>,
    capabilities: Capabilities,
    image: String,
}

impl WasiExecutor {
    /// Starts an executor on an image, which is pulled if it is not there.
    ///
    /// # Errors
    /// As [`ImageStore::pull`].
    pub async fn start(
        store: ImageStore,
        options: Options,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let loaded = store.load(&options.image, options.fuel, progress).await?;
        let template =
            Arc::new(Template::new(loaded.guest.clone(), loaded.image.clone(), options.idle));
        let capabilities = Capabilities {
            languages: vec![Language::PYTHON],
            isolation: Isolation::Wasm,
            // A guest cannot make processes, so any limit on them holds.
            limits: vec![
                Limit::Wall,
                Limit::Cpu,
                Limit::Memory,
                Limit::Output,
                Limit::Disk,
                Limit::Files,
                Limit::Processes,
            ],
            watched: Vec::new(),
            network: false,
            state: true,
            fork: true,
            freeze: true,
            install: true,
        };
        Ok(Self {
            shared: Arc::new(Shared { loaded, template }),
            capabilities,
            image: options.image,
        })
    }

    /// The names and versions of the packages that every session has.
    pub fn packages(&self) -> &[(String, String)] {
        &self.shared.loaded.packages
    }

    #[cfg(test)]
    pub(crate) fn template(&self) -> &Template {
        &self.shared.template
    }

    fn check(&self, spec: &SessionSpec) -> Result<()> {
        let least = self.shared.loaded.image.bytes().len() as u64;
        self.capabilities.check(NAME, spec, least)
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
        let image = stored::read(frozen, &loaded.guest_id, |key| loaded.layer(key))?;
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

fn start_failed(error: wasmtime::Error) -> Error {
    Error::Start { what: "an interpreter".to_owned(), source: error.into() }
}
