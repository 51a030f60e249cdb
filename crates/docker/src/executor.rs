//! The executor: opens sessions in containers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use cellblock_driver::{DriverSession, MIN_MEMORY, Relays, Setup, relays};
use cellblock_exec::{
    BoxFuture, Capabilities, Error, Executor, Isolation, Language, Limit, Limits, Progress, Result,
    Session, SessionSpec,
};
use parking_lot::Mutex;

use crate::{
    engine::Engine,
    options::Options,
    pool::{Pool, SessionKind},
    session_image::{SessionImage, find_image},
    sweep::sweep,
};

/// The executor's name.
pub const NAME: &str = "docker";
/// The interval between looks at containers that are being made.
const SETTLING: Duration = Duration::from_millis(5);

/// Runs code in containers.
#[derive(Debug)]
pub struct DockerExecutor {
    engine: Arc<Engine>,
    options: Arc<Options>,
    /// The images that sessions were opened on, by the requested names.
    images: Mutex<HashMap<String, Arc<SessionImage>>>,
    pool: Arc<Pool>,
    capabilities: Capabilities,
}

impl DockerExecutor {
    /// Connects to the engine as the `docker` command does, and starts an executor there. Removes
    /// what earlier processes left in the engine when they crashed.
    ///
    /// # Errors
    /// The errors of [`Engine::connect`]; [`Error::Start`] when the engine does not have the image;
    /// [`Error::Unsupported`] for a runtime that the engine does not have, and for an engine
    /// without a system call filter.
    pub fn start(options: Options, progress: &dyn Progress) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move { Self::start_on(Engine::connect().await?, options, progress).await })
    }

    /// Starts an executor on this engine, as [`DockerExecutor::start`] does.
    ///
    /// # Errors
    /// As [`DockerExecutor::start`].
    pub fn start_on(
        engine: Engine,
        options: Options,
        progress: &dyn Progress,
    ) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            options.check()?;
            check_engine(&engine, &options)?;
            // For the sake of others: a failure does not concern this session.
            let _ = sweep(&engine).await;
            let (engine, options) = (Arc::new(engine), Arc::new(options));
            let image = find_image(&engine, &options.image).await?;
            let pool = Pool::new(engine.clone(), options.clone());
            let languages = languages(&image, &pool, progress).await?;
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
        })
    }

    /// Returns the engine that it uses.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes containers ready for sessions of this kind, as many as [`Options::idle`] says, and
    /// waits for them.
    ///
    /// # Errors
    /// The errors of [`Executor::open`], except for the start of a container, which the next `open`
    /// reports.
    pub fn warm<'a>(&'a self, spec: &'a SessionSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (kind, _) = self.kind(spec).await?;
            self.pool.prepare(&kind);
            while !self.pool.is_settled() {
                tokio::time::sleep(SETTLING).await;
            }
            Ok(())
        })
    }

    /// Returns the number of idle containers that are ready.
    pub fn idle(&self) -> usize {
        self.pool.ready()
    }

    /// Ends the executor, and waits until its idle containers are gone. Dropping it ends them as
    /// well, without waiting.
    ///
    /// # Errors
    /// [`Error::Lost`] when one could not be removed.
    pub fn close(self) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let mut result = Ok(());
            loop {
                let is_settled = self.pool.is_settled();
                for (cell, driver) in self.pool.close() {
                    drop(driver);
                    result = result.and(cellblock_driver::Cell::close(Box::new(cell)).await);
                }
                if is_settled {
                    return result;
                }
                tokio::time::sleep(SETTLING).await;
            }
        })
    }

    /// Returns the kind of a session, and its grants.
    async fn kind(&self, spec: &SessionSpec) -> Result<(SessionKind, Relays)> {
        self.capabilities.check(NAME, spec, MIN_MEMORY)?;
        let relays = relays(&spec.network)?;
        if let Some(address) = relays.addresses.first() {
            return Err(Error::Unsupported(format!(
                "{address}: the docker executor can grant host names and loopback addresses, but \
                 no other address; grant the host by its name"
            )));
        }
        let image = self.image(spec.image.as_deref().unwrap_or(&self.options.image)).await?;
        Ok((SessionKind::new(image, &spec.limits, relays.clone()), relays))
    }

    async fn image(&self, name: &str) -> Result<Arc<SessionImage>> {
        let known = self.images.lock().get(name).cloned();
        if let Some(image) = known {
            return Ok(image);
        }
        let image = find_image(&self.engine, name).await?;
        self.images.lock().insert(name.to_owned(), image.clone());
        Ok(image)
    }
}

/// Returns the languages of an image. If its label does not list them, a container is started: a
/// driver knows what it found, and the first session may well use it.
async fn languages(
    image: &Arc<SessionImage>,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    if let Some(languages) = &image.languages {
        return Ok(languages.clone());
    }
    progress.step("starting a container");
    let kind = SessionKind::new(image.clone(), &Limits::default(), Relays::default());
    pool.languages(&kind).await
}

/// Returns the limits that this engine enforces. A rootless one may control neither memory nor
/// processes.
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

/// Returns an error if the engine cannot run sessions with these options.
fn check_engine(engine: &Engine, options: &Options) -> Result<()> {
    if engine.info.os_type.as_deref().is_some_and(|system| system != "linux") {
        return Err(Error::Unsupported(
            "the engine does not run Linux containers; switch it to Linux containers".to_owned(),
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
    // A runtime that was chosen by name, such as gVisor's, may itself stand between programs and
    // the kernel.
    if options.runtime.is_none() && !engine.has_seccomp() {
        return Err(Error::Unsupported(
            "the engine runs containers without a system call filter; start it with seccomp, or \
             choose a runtime such as runsc"
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
        let (cell, driver) = match self.pool.take(&kind).await {
            Ok(ready) => ready,
            Err(error) => {
                // The image may have been removed or replaced: the next session looks again.
                self.images.lock().clear();
                return Err(error);
            }
        };
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
