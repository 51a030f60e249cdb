//! Removing a container, also when no task can run any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bollard::{Docker, errors::Error as ApiError, query_parameters::RemoveContainerOptions};

use crate::engine::is_missing;

/// How long the end of a runtime may be held up by a container that is just being made. One takes a few tenths of a second.
const HOLD_UP: Duration = Duration::from_secs(3);
/// How long the removal of a container may go on in the background.
const BACKGROUND: Duration = Duration::from_secs(30);

/// Removes a container, by its id or name, and waits until it is gone. One that is not there is fine.
pub(crate) async fn remove(docker: &Docker, container: &str) -> Result<(), ApiError> {
    let mut pause = Duration::from_millis(20);
    let mut tries = 0;
    loop {
        match attempt(docker, container).await {
            Ok(()) => return Ok(()),
            Err(error) if is_missing(&error) => return Ok(()),
            // It ended by itself, and the engine is removing it already: it is gone once it is missing. An engine that
            // is busy or just starts gets another chance, too.
            Err(error) => {
                tries += 1;
                if tries == 12 {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn attempt(docker: &Docker, container: &str) -> Result<(), ApiError> {
    docker
        .remove_container(
            container,
            Some(RemoveContainerOptions { force: true, v: true, link: false }),
        )
        .await
}

/// How far a container has come.
#[derive(Debug, Default)]
pub(crate) struct Stage(AtomicU8);

impl Stage {
    /// The engine has been asked for it.
    const ASKED: u8 = 0;
    /// It is there.
    pub(crate) const MADE: u8 = 1;
    /// It has been started, so that it ends with our connection to it.
    pub(crate) const STARTED: u8 = 2;
    /// It is not there any more.
    pub(crate) const GONE: u8 = 3;

    pub(crate) fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Release);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// Removes the container when its keeper is dropped before it has done so: the runtime is going down.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) docker: Docker,
    pub(crate) name: String,
    pub(crate) stage: Arc<Stage>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let stage = self.stage.get();
        if stage == Stage::GONE {
            return;
        }
        let (docker, name) = (self.docker.clone(), self.name.clone());
        let started = stage == Stage::STARTED;
        let work = async move {
            // One that was asked for appears a moment later.
            while let (Stage::ASKED, Err(error)) = (stage, attempt(&docker, &name).await) {
                if !is_missing(&error) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let _ = remove(&docker, &name).await;
        };
        let limit = if started { BACKGROUND } else { HOLD_UP };
        // No runtime can be entered from within one that is going down, so this is a thread's work.
        let thread = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                let _ = runtime.block_on(async { tokio::time::timeout(limit, work).await });
            }
        });
        // A started one is not waited for: a process that ends now closes its standard input, and that ends it, too. One
        // that has not been started would stay, because a thread does not outlive its process.
        if !started {
            let _ = thread.join();
        }
    }
}
