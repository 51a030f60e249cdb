//! The executor: opens sessions in containers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cellblock_driver::{DriverSession, MIN_MEMORY, Relays, Setup, relays};
use cellblock_exec::{
    Capabilities, Error, Executor, Isolation, Language, Limit, Limits, Progress, Result, Session,
    SessionSpec,
};

use crate::{
    engine::Engine,
    image::{self, Image},
    options::Options,
    pool::{Kind, Pool},
    sweep::sweep,
};

/// The executor's name.
pub(crate) const NAME: &str = "docker";
/// How often is looked whether the containers that are being made are ready.
const SETTLING: Duration = Duration::from_millis(5);

/// Runs code in containers.
#[derive(Debug)]
pub struct DockerExecutor {
    engine: Arc<Engine>,
    options: Arc<Options>,
    /// The images that sessions were opened on, by the names that were asked for.
    images: Mutex<HashMap<String, Arc<Image>>>,
    pool: Arc<Pool>,
    capabilities: Capabilities,
}

impl DockerExecutor {
    /// Connects to the engine as the `docker` command does, and starts an executor there.
    ///
    /// What earlier processes left in the engine when they crashed is removed.
    ///
    /// # Errors
    /// Those of [`Engine::connect`]; [`Error::Start`] when the image is not there; [`Error::Unsupported`] for a runtime
    /// that the engine does not have, and for an engine without a system call filter.
    pub async fn start(options: Options, progress: &dyn Progress) -> Result<Self> {
        Self::start_on(Engine::connect().await?, options, progress).await
    }

    /// As [`DockerExecutor::start`], on this engine.
    ///
    /// # Errors
    /// As [`DockerExecutor::start`].
    pub async fn start_on(
        engine: Engine,
        options: Options,
        progress: &dyn Progress,
    ) -> Result<Self> {
        options.check()?;
        check_engine(&engine, &options)?;
        // It is for others' sake; whatever stands in its way does not concern this session.
        let _ = sweep(&engine).await;
        let (engine, options) = (Arc::new(engine), Arc::new(options));
        let image = image::find(&engine, &options.image).await?;
        let pool = Pool::new(engine.clone(), options.clone());
        let languages = match &image.languages {
            Some(languages) => languages.clone(),
            None => {
                // A driver knows what it found, and the first session may well take it over.
                progress.step("starting a container");
                let kind = Kind::new(image.clone(), &Limits::default(), Relays::default());
                pool.look(&kind).await?
            }
        };
        let capabilities = Capabilities {
            languages: languages.into_iter().map(Language::new).collect(),
            isolation: Isolation::Container,
            limits: limits(&engine),
            watched: Vec::new(),
            network: true,
            state: true,
            fork: false,
            freeze: false,
            install: true,
        };
        let images = Mutex::new(HashMap::from([(options.image.clone(), image)]));
        Ok(Self { engine, options, images, pool, capabilities })
    }

    /// The engine that it uses.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes containers ready for sessions of this kind, as many as [`Options::idle`] says, and waits for them.
    ///
    /// # Errors
    /// Those of [`Executor::open`] but for the start of a container, which the next `open` reports.
    pub async fn warm(&self, spec: &SessionSpec) -> Result<()> {
        let (kind, _) = self.kind(spec).await?;
        self.pool.prepare(&kind);
        while !self.pool.is_settled() {
            tokio::time::sleep(SETTLING).await;
        }
        Ok(())
    }

    /// How many containers are idle and ready.
    pub fn idle(&self) -> usize {
        self.pool.ready()
    }

    /// Ends the executor and waits until its idle containers are gone. Dropping it ends them as well, without waiting.
    ///
    /// # Errors
    /// [`Error::Lost`] when one could not be removed.
    pub async fn close(self) -> Result<()> {
        let mut result = Ok(());
        loop {
            let settled = self.pool.is_settled();
            for (cell, driver) in self.pool.close() {
                drop(driver);
                result = result.and(cellblock_driver::Cell::close(Box::new(cell)).await);
            }
            if settled {
                return result;
            }
            tokio::time::sleep(SETTLING).await;
        }
    }

    /// The kind of container that a session needs, and its grants.
    async fn kind(&self, spec: &SessionSpec) -> Result<(Kind, Relays)> {
        self.capabilities.check(NAME, spec, MIN_MEMORY)?;
        let relays = relays(&spec.network)?;
        if let Some(address) = relays.addresses.first() {
            return Err(Error::Unsupported(format!(
                "{address}: the docker executor can grant host names and loopback addresses, but no other address; grant \
                 the host by its name"
            )));
        }
        let image = self.image(spec.image.as_deref().unwrap_or(&self.options.image)).await?;
        Ok((Kind::new(image, &spec.limits, relays.clone()), relays))
    }

    async fn image(&self, name: &str) -> Result<Arc<Image>> {
        let known = self.images.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(image) = known {
            return Ok(image);
        }
        let image = image::find(&self.engine, name).await?;
        self.images
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), image.clone());
        Ok(image)
    }
}

/// The limits that hold on this engine. A rootless one may have no say over memory and processes.
fn limits(engine: &Engine) -> Vec<Limit> {
    let mut limits = vec![Limit::Wall, Limit::Cpu, Limit::Output, Limit::Disk, Limit::Files];
    if engine.info.memory_limit == Some(true) {
        limits.push(Limit::Memory);
    }
    if engine.info.pids_limit == Some(true) {
        limits.push(Limit::Processes);
    }
    limits
}

fn check_engine(engine: &Engine, options: &Options) -> Result<()> {
    if engine.info.os_type.as_deref().is_some_and(|system| system != "linux") {
        return Err(Error::Unsupported(
            "the engine runs no Linux containers; switch it to them".to_owned(),
        ));
    }
    let runtimes = engine.info.runtimes.iter().flatten();
    let mut names: Vec<&str> = runtimes.map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(runtime) = &options.runtime
        && !names.contains(&runtime.as_str())
    {
        let names = names.join(", ");
        return Err(Error::Unsupported(format!(
            "the engine has no runtime {runtime}; it has {names}"
        )));
    }
    // A runtime that was chosen by name, such as gVisor's, may well stand between programs and the kernel by itself.
    if options.runtime.is_none() && !engine.has_seccomp() {
        return Err(Error::Unsupported(
            "the engine runs containers without a system call filter; start it with seccomp, or choose a runtime such as \
             runsc"
                .to_owned(),
        ));
    }
    Ok(())
}

#[async_trait]
impl Executor for DockerExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let (kind, relays) = self.kind(&spec).await?;
        let ready = match self.pool.take(&kind).await {
            Ok(ready) => ready,
            Err(error) => {
                // The image may have been removed or replaced meanwhile: the next session looks again.
                self.images.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return Err(error);
            }
        };
        let (cell, driver) = ready;
        let setup = Setup {
            executor: NAME,
            isolation: Isolation::Container,
            limits: spec.limits,
            environment: spec.environment,
            files: spec.files,
            relays: relays.relays,
            packages: None,
            watched: Vec::new(),
            memory_is_refused: false,
            program: kind.image.program.clone(),
        };
        Ok(Box::new(DriverSession::new(cell, driver, setup).await?))
    }
}

impl Drop for DockerExecutor {
    fn drop(&mut self) {
        // Tasks of the pool may hold it a moment longer.
        drop(self.pool.close());
    }
}
