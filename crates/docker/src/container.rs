//! A container of ours: made, watched, and removed whatever happens.
//!
//! Each container has a keeper, a task that waits for its end and removes it when its [`Container`] is dropped. Where no
//! task can run any more, because the runtime is going down, a thread does it. Should the whole process die, the engine
//! closes the standard input of the container, its first process ends, and the engine removes it (`AutoRemove`).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bollard::{
    Docker, body_full,
    container::AttachContainerResults,
    errors::Error as ApiError,
    models::{ContainerCreateBody, ContainerStateStatusEnum, ContainerWaitResponse},
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, EventsOptions, InspectContainerOptions,
        StartContainerOptions, UploadToContainerOptions, WaitContainerOptions,
    },
};
use bytes::Bytes;
use cellblock_exec::{Error, Result};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    connect::hex,
    engine::{Engine, is_missing, reason, start},
    removal::{Guard, Stage, remove},
    volume,
};

/// The exit code of a process that was killed with SIGKILL.
const KILLED: i64 = 137;
/// How long the engine may take to remove a container before it counts as failed.
const REMOVAL: Duration = Duration::from_secs(60);

/// How long the engine may take to tell what it has recorded of a container.
const EVENTS: Duration = Duration::from_secs(1);
/// How long before its end a container's memory may have run out to be the reason, in nanoseconds.
const LAST_MOMENTS: i64 = 5_000_000_000;

/// What is known about a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// How it ended; `None` as long as it runs, or will.
    pub(crate) end: Option<End>,
    /// Whether it could be removed, or why not; `None` as long as nobody has tried.
    removed: Option<Result<(), String>>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Its first process ended with this exit code, by itself or because somebody else killed it.
    Exited(i64),
    /// The engine cannot say, for this reason.
    Unreachable(String),
    /// We ended it.
    Unwanted,
}

/// A container. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: Arc<str>,
    stage: Arc<Stage>,
    state: watch::Receiver<State>,
    unwanted: CancellationToken,
}

impl Container {
    /// Makes a container, with its standard streams attached, and starts it. `files` is an archive that is unpacked in its
    /// root before.
    pub(crate) async fn start(
        engine: &Engine,
        body: ContainerCreateBody,
        files: Option<Bytes>,
    ) -> Result<(Self, AttachContainerResults)> {
        // On a task of its own: a caller that stops waiting must not leave behind what the engine is just making.
        let engine = engine.clone();
        let started = tokio::spawn(async move {
            let container = Self::create(&engine, body).await?;
            if let Some(files) = files {
                let root = UploadToContainerOptions {
                    path: "/".to_owned(),
                    ..UploadToContainerOptions::default()
                };
                let put = engine
                    .docker
                    .upload_to_container(&container.id, Some(root), body_full(files))
                    .await;
                put.map_err(|error| start("a container", &error))?;
            }
            let attached = container.attach_and_start(&engine).await?;
            Ok((container, attached))
        });
        match started.await {
            Ok(started) => started,
            Err(error) => {
                Err(Error::Start { what: "a container".to_owned(), source: error.into() })
            }
        }
    }

    /// Makes a container that is not started. Only for use on a task that is not dropped halfway.
    async fn create(engine: &Engine, mut body: ContainerCreateBody) -> Result<Self> {
        let volume = volume::mark(&mut body, &engine.owner);
        let image = body.image.clone().unwrap_or_default();
        // By its name it can be removed even when nobody is there any more to hear its id.
        let name = name(engine);
        let stage = Arc::new(Stage::default());
        let guard =
            Guard { docker: engine.docker.clone(), name: name.clone(), stage: stage.clone() };
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            ..CreateContainerOptions::default()
        };
        let made = engine.docker.create_container(Some(options), body).await;
        let id = match made {
            Ok(made) => made.id.into(),
            Err(error) => {
                // An engine that answers has made nothing.
                let answered = matches!(error, ApiError::DockerResponseServerError { .. });
                stage.set(if answered { Stage::GONE } else { Stage::STARTED });
                return Err(start(format!("a container of image {image}"), &error));
            }
        };
        stage.set(Stage::MADE);
        let (sender, state) = watch::channel(State::default());
        let unwanted = CancellationToken::new();
        tokio::spawn(keep(engine.patient(), guard, volume, unwanted.clone(), sender));
        Ok(Self { id, stage, state, unwanted })
    }

    async fn attach_and_start(&self, engine: &Engine) -> Result<AttachContainerResults> {
        let failed = |error: ApiError| start("a container", &error);
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        // Attached before it starts, so that nothing it writes is missed.
        let attached =
            engine.docker.attach_container(&self.id, Some(options)).await.map_err(failed)?;
        engine
            .docker
            .start_container(&self.id, None::<StartContainerOptions>)
            .await
            .map_err(failed)?;
        self.stage.set(Stage::STARTED);
        Ok(attached)
    }

    /// As [`Container::start`], for one that is there for its file system only and never runs.
    pub(crate) async fn prepare(engine: &Engine, body: ContainerCreateBody) -> Result<Self> {
        let engine = engine.clone();
        match tokio::spawn(async move { Self::create(&engine, body).await }).await {
            Ok(created) => created,
            Err(error) => {
                Err(Error::Start { what: "a container".to_owned(), source: error.into() })
            }
        }
    }

    /// Ends and removes it, without waiting.
    pub(crate) fn kill(&self) {
        self.unwanted.cancel();
    }

    /// What becomes of it can be followed here, also when the container itself has moved elsewhere.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Ends and removes it, and waits until it is gone.
    pub(crate) async fn remove(self) -> Result<()> {
        self.kill();
        let lost = |why: String| Error::Lost {
            what: format!("its container {} could not be removed", short(&self.id)),
            source: why.into(),
        };
        let mut state = self.state.clone();
        let gone = state.wait_for(|state| state.removed.is_some());
        match tokio::time::timeout(REMOVAL, gone).await {
            Ok(Ok(state)) => state.removed.clone().unwrap_or(Ok(())).map_err(lost),
            // The runtime goes down; the guard does the rest.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(lost("the engine takes too long".to_owned())),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A name that no other container has: the owner's, shortened, and a number.
fn name(engine: &Engine) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let owner = hex(&Sha256::digest(engine.owner.label().as_bytes()));
    format!("cellblock-{}-{}", &owner[..12], NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The first digits of an id, as the `docker` command shows it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Why a container is not there any more, once that is known; it is asked when its stream has ended.
pub(crate) async fn last_words(mut state: watch::Receiver<State>) -> String {
    // The engine says so a moment after the stream has ended.
    let known = state.wait_for(|state| state.end.is_some());
    let end = match tokio::time::timeout(Duration::from_secs(5), known).await {
        Ok(Ok(state)) => state.end.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    match end {
        Some(End::Exited(KILLED)) => {
            "it was killed or removed from outside, or the machine ran out of memory".to_owned()
        }
        Some(End::Exited(code)) => format!("its first process ended with exit code {code}"),
        Some(End::Unreachable(why)) => why,
        Some(End::Unwanted) => "it did not answer, and was ended".to_owned(),
        None => "the connection to it broke".to_owned(),
    }
}

/// Whether a container ended because its memory had run out. The engine's record of events tells it
/// also when the container, which goes with its end, cannot be looked at any more.
pub(crate) async fn ran_out_of_memory(docker: &Docker, id: &str) -> bool {
    let filters = [("container", vec![id]), ("event", vec!["oom", "die"])];
    let filters = filters.map(|(name, values)| {
        (name.to_owned(), values.into_iter().map(str::to_owned).collect::<Vec<_>>())
    });
    let options = EventsOptions {
        since: Some("0".to_owned()),
        until: None,
        filters: Some(HashMap::from(filters)),
    };
    let mut events = std::pin::pin!(docker.events(Some(options)));
    let both = async {
        let (mut short, mut ended) = (None, None);
        while let Some(Ok(event)) = events.next().await {
            match event.action.as_deref() {
                Some("oom") => short = event.time_nano,
                Some("die") => ended = event.time_nano,
                _ => {}
            }
            // A program that was killed for it long before says nothing about the end.
            if let (Some(short), Some(ended)) = (short, ended) {
                return ended.saturating_sub(short) < LAST_MOMENTS;
            }
        }
        false
    };
    tokio::time::timeout(EVENTS, both).await.unwrap_or(false)
}

/// Waits for the end of a container, and removes it when it is not wanted any more.
async fn keep(
    docker: Docker,
    guard: Guard,
    volume: Option<String>,
    unwanted: CancellationToken,
    sender: watch::Sender<State>,
) {
    let options = WaitContainerOptions { condition: "removed".to_owned() };
    let mut waiting = docker.wait_container(&guard.name, Some(options)).map(end);
    let end = tokio::select! {
        biased;
        () = unwanted.cancelled() => {
            // Its stream may have ended before it became unwanted, and its session asks why.
            if is_running(&guard).await {
                End::Unwanted
            } else {
                let told = tokio::time::timeout(Duration::from_secs(1), waiting.next()).await;
                told.ok().flatten().unwrap_or(End::Exited(KILLED))
            }
        }
        end = waiting.next() => {
            end.unwrap_or_else(|| End::Unreachable("the engine was stopped".to_owned()))
        }
    };
    drop(waiting);
    // The engine removes it when its first process ends.
    let gone = matches!(end, End::Exited(_));
    sender.send_modify(|state| state.end = Some(end));
    if let (true, Some(volume)) = (gone, volume) {
        // Somebody who removes it by hand leaves its volume behind.
        let _ = volume::remove(&docker, &volume).await;
    }
    if gone && !unwanted.is_cancelled() {
        guard.stage.set(Stage::GONE);
    }
    unwanted.cancelled().await;
    let removed = remove(&guard.docker, &guard.name).await.map_err(|error| reason(&error));
    guard.stage.set(Stage::GONE);
    sender.send_modify(|state| state.removed = Some(removed));
}

/// What the engine's answer to waiting means.
fn end(answer: Result<ContainerWaitResponse, ApiError>) -> End {
    match answer {
        Ok(response) => End::Exited(response.status_code),
        Err(ApiError::DockerContainerWaitError { code, .. }) => End::Exited(code),
        Err(error) if is_missing(&error) => End::Exited(KILLED),
        Err(error) => End::Unreachable(reason(&error)),
    }
}

/// Whether a container still runs, or has not been started. An engine that does not answer is told by others.
async fn is_running(guard: &Guard) -> bool {
    match guard.docker.inspect_container(&guard.name, None::<InspectContainerOptions>).await {
        Ok(container) => container.state.and_then(|state| state.status).is_none_or(|status| {
            !matches!(
                status,
                ContainerStateStatusEnum::EXITED
                    | ContainerStateStatusEnum::REMOVING
                    | ContainerStateStatusEnum::DEAD
            )
        }),
        Err(error) => {
            matches!(error, ApiError::DockerResponseServerError { .. }) && !is_missing(&error)
        }
    }
}
