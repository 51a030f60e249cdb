//! The keeper of a container: a task that waits for its end, and removes it once nobody wants it.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    errors::Error as ApiError,
    models::{ContainerStateStatusEnum, ContainerWaitResponse},
    query_parameters::{EventsOptions, InspectContainerOptions, WaitContainerOptions},
};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{is_missing, reason},
    removal::{ContainerStage, RemovalGuard, remove},
    volume,
};

/// The exit code of a process that was killed with SIGKILL.
const KILLED: i64 = 137;
/// The maximum time for the engine to report an end that has happened.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// The maximum time for the engine to report the end of a container that is no longer wanted.
const LATE_END_PATIENCE: Duration = Duration::from_secs(1);
/// The maximum time for the engine to report the events of a container.
const EVENTS_PATIENCE: Duration = Duration::from_secs(1);
/// The maximum time between the exhaustion of a container's memory and its end with which the first
/// counts as the reason of the second, in nanoseconds.
const LAST_MOMENTS: i64 = 5_000_000_000;

/// The state of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Its end; `None` before that.
    pub end: Option<ContainerEnd>,
    /// The result of its removal; `None` before that.
    pub removed: Option<Result<(), String>>,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEnd {
    /// Its first process ended with this exit code, by itself or because somebody else killed it.
    Exited(i64),
    /// The engine cannot say, for this reason.
    Unreachable(String),
    /// We ended it.
    Unwanted,
}

/// Waits for the end of a container, and removes it once `unwanted` is cancelled. `volume` is the
/// label of its volume.
pub async fn keep(
    docker: Docker,
    guard: RemovalGuard,
    volume: Option<String>,
    unwanted: CancellationToken,
    sender: watch::Sender<ContainerState>,
) {
    let options = WaitContainerOptions { condition: "removed".to_owned() };
    let mut waiting = docker.wait_container(&guard.name, Some(options)).map(end);
    let end = tokio::select! {
        biased;
        () = unwanted.cancelled() => {
            // Its stream may have ended before it became unwanted, and its session asks why.
            if is_running(&guard).await {
                ContainerEnd::Unwanted
            } else {
                let end = tokio::time::timeout(LATE_END_PATIENCE, waiting.next()).await;
                end.ok().flatten().unwrap_or(ContainerEnd::Exited(KILLED))
            }
        }
        end = waiting.next() => {
            let stopped = || ContainerEnd::Unreachable("the engine was stopped".to_owned());
            end.unwrap_or_else(stopped)
        }
    };
    drop(waiting);
    // The engine removes it when its first process ends.
    let is_gone = matches!(end, ContainerEnd::Exited(_));
    sender.send_modify(|state| state.end = Some(end));
    if let (true, Some(volume)) = (is_gone, volume) {
        // Somebody who removes a container by hand leaves its volume behind.
        let _ = volume::remove(&docker, &volume).await;
    }
    if is_gone && !unwanted.is_cancelled() {
        guard.stage.set(ContainerStage::GONE);
    }
    unwanted.cancelled().await;
    let removed = remove(&guard.docker, &guard.name).await.map_err(|error| reason(&error));
    guard.stage.set(ContainerStage::GONE);
    sender.send_modify(|state| state.removed = Some(removed));
}

/// Returns the end that the engine's answer to waiting stands for.
fn end(answer: Result<ContainerWaitResponse, ApiError>) -> ContainerEnd {
    match answer {
        Ok(response) => ContainerEnd::Exited(response.status_code),
        Err(ApiError::DockerContainerWaitError { code, .. }) => ContainerEnd::Exited(code),
        Err(error) if is_missing(&error) => ContainerEnd::Exited(KILLED),
        Err(error) => ContainerEnd::Unreachable(reason(&error)),
    }
}

/// Returns true if a container runs or has not been started. For an engine that does not answer it
/// returns false; the wait reports that.
async fn is_running(guard: &RemovalGuard) -> bool {
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

/// Returns the reason why a container has ended, once that is known. Called when its stream has
/// ended.
pub async fn end_reason(mut state: watch::Receiver<ContainerState>) -> String {
    // The engine reports the end a moment after the stream has ended.
    let known = state.wait_for(|state| state.end.is_some());
    let end = match tokio::time::timeout(END_PATIENCE, known).await {
        Ok(Ok(state)) => state.end.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    match end {
        Some(ContainerEnd::Exited(KILLED)) => {
            "it was killed or removed from outside, or the machine ran out of memory".to_owned()
        }
        Some(ContainerEnd::Exited(code)) => {
            format!("its first process ended with exit code {code}")
        }
        Some(ContainerEnd::Unreachable(why)) => why,
        Some(ContainerEnd::Unwanted) => "it did not answer, and was ended".to_owned(),
        None => "the connection to it broke".to_owned(),
    }
}

/// Returns true if a container ended because its memory was exhausted. The engine's events tell it
/// even when the container, which is removed at its end, can no longer be inspected.
pub async fn ran_out_of_memory(docker: &Docker, id: &str) -> bool {
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
        let (mut exhausted, mut ended) = (None, None);
        while let Some(Ok(event)) = events.next().await {
            match event.action.as_deref() {
                Some("oom") => exhausted = event.time_nano,
                Some("die") => ended = event.time_nano,
                _ => {}
            }
            // A program that was killed for its memory long before does not explain the end.
            if let (Some(exhausted), Some(ended)) = (exhausted, ended) {
                return ended.saturating_sub(exhausted) < LAST_MOMENTS;
            }
        }
        false
    };
    tokio::time::timeout(EVENTS_PATIENCE, both).await.unwrap_or(false)
}
