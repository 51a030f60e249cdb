//! A container of ours: created, started, and removed whatever happens.
//!
//! Each container has a keeper, a task that waits for its end and removes it when its
//! [`Container`] is dropped. Where no task can run any more, because the runtime shuts down, a
//! thread does it. If the whole process dies, the engine closes the container's standard input, its
//! first process ends, and the engine removes the container (`AutoRemove`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bollard::{
    body_full,
    container::AttachContainerResults,
    errors::Error as ApiError,
    models::ContainerCreateBody,
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, StartContainerOptions,
        UploadToContainerOptions,
    },
};
use bytes::Bytes;
use cellblock_exec::{Error, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Engine,
    failure::start_error,
    keeper::{ContainerState, keep},
    names::hash,
    removal::{ContainerStage, RemovalGuard},
    volume,
};

/// The maximum time for the engine to remove a container.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(60);
/// The number of digits of an id or a hash that are shown, as in the `docker` command.
const SHORT_ID: usize = 12;

/// A container. Dropping it removes it.
#[derive(Debug)]
pub struct Container {
    pub id: Arc<str>,
    stage: Arc<ContainerStage>,
    state: watch::Receiver<ContainerState>,
    unwanted: CancellationToken,
}

impl Container {
    /// Creates a container, attaches to its standard streams, and starts it. `files` is an archive
    /// that is unpacked in its root before the start.
    pub async fn start(
        engine: &Engine,
        body: ContainerCreateBody,
        files: Option<Bytes>,
    ) -> Result<(Self, AttachContainerResults)> {
        let engine = engine.clone();
        spawned(async move {
            let container = Self::create(&engine, body).await?;
            if let Some(files) = files {
                let root = UploadToContainerOptions {
                    path: "/".to_owned(),
                    ..UploadToContainerOptions::default()
                };
                let uploaded = engine
                    .docker
                    .upload_to_container(&container.id, Some(root), body_full(files))
                    .await;
                uploaded.map_err(|error| start_error("a container", &error))?;
            }
            let attached = container.attach_and_start(&engine).await?;
            Ok((container, attached))
        })
        .await
    }

    /// Creates a container that never runs, for its file system only.
    pub async fn prepare(engine: &Engine, body: ContainerCreateBody) -> Result<Self> {
        let engine = engine.clone();
        spawned(async move { Self::create(&engine, body).await }).await
    }

    /// Creates a container and its keeper. The future must not be dropped halfway.
    async fn create(engine: &Engine, mut body: ContainerCreateBody) -> Result<Self> {
        let volume = volume::mark(&mut body, &engine.owner);
        let image = body.image.clone().unwrap_or_default();
        // By its name it can be removed even if nobody receives its id any more.
        let name = unique_name(engine);
        let stage = Arc::new(ContainerStage::default());
        let guard = RemovalGuard {
            docker: engine.docker.clone(),
            name: name.clone(),
            stage: stage.clone(),
        };
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            ..CreateContainerOptions::default()
        };
        let created = engine.docker.create_container(Some(options), body).await;
        let id = match created {
            Ok(created) => created.id.into(),
            Err(error) => {
                // An engine that answers with an error has created nothing.
                let answered = matches!(error, ApiError::DockerResponseServerError { .. });
                stage.set(if answered { ContainerStage::GONE } else { ContainerStage::STARTED });
                return Err(start_error(format!("a container of image {image}"), &error));
            }
        };
        stage.set(ContainerStage::CREATED);
        let (sender, state) = watch::channel(ContainerState::default());
        let unwanted = CancellationToken::new();
        tokio::spawn(keep(engine.patient(), guard, volume, unwanted.clone(), sender));
        Ok(Self { id, stage, state, unwanted })
    }

    async fn attach_and_start(&self, engine: &Engine) -> Result<AttachContainerResults> {
        let failed = |error: ApiError| start_error("a container", &error);
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        // Attached before the start, so that no output is missed.
        let attached =
            engine.docker.attach_container(&self.id, Some(options)).await.map_err(failed)?;
        engine
            .docker
            .start_container(&self.id, None::<StartContainerOptions>)
            .await
            .map_err(failed)?;
        self.stage.set(ContainerStage::STARTED);
        Ok(attached)
    }

    /// Ends and removes it, without waiting.
    pub fn kill(&self) {
        self.unwanted.cancel();
    }

    /// Returns a receiver of its state, which outlives the container.
    pub fn watch(&self) -> watch::Receiver<ContainerState> {
        self.state.clone()
    }

    /// Ends and removes it, and waits until it is gone.
    pub async fn remove(self) -> Result<()> {
        self.kill();
        let lost = |why: String| Error::Lost {
            what: format!(
                "its container {} could not be removed",
                self.id.get(..SHORT_ID).unwrap_or(&self.id)
            ),
            source: why.into(),
        };
        let mut state = self.state.clone();
        let removed = state.wait_for(|state| state.removed.is_some());
        match tokio::time::timeout(REMOVAL_PATIENCE, removed).await {
            Ok(Ok(state)) => state.removed.clone().unwrap_or(Ok(())).map_err(lost),
            // The runtime shuts down; the guard does the rest.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(lost("the engine did not answer in time".to_owned())),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a future on a task of its own: a caller that stops waiting must not leave behind what the
/// engine is just creating.
async fn spawned<T: Send + 'static>(
    future: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(future).await {
        Ok(result) => result,
        Err(error) => Err(Error::Start { what: "a container".to_owned(), source: error.into() }),
    }
}

/// Returns a name that no other container has: the owner's, shortened, and a number.
fn unique_name(engine: &Engine) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let owner = hash(&engine.owner.label());
    format!("cellblock-{}-{}", &owner[..SHORT_ID], NEXT.fetch_add(1, Ordering::Relaxed))
}
