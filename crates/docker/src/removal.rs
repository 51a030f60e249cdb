//! The removal of a container, even when no task can run any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bollard::{Docker, errors::Error as ApiError, query_parameters::RemoveContainerOptions};

use crate::failure::is_missing;

/// The maximum time that a container which is just being created delays the shutdown of a runtime.
/// One takes a few tenths of a second.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// The maximum time of a removal in the background.
const BACKGROUND: Duration = Duration::from_secs(30);
/// The maximum number of attempts of a removal.
const MAX_ATTEMPTS: u32 = 12;
/// The pause after the first attempt, which doubles with each further one, and its maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Removes a container, by its id or name, and waits until it is gone. A missing one is no error.
pub async fn remove(docker: &Docker, container: &str) -> Result<(), ApiError> {
    let mut pause = FIRST_PAUSE;
    let mut attempts = 0;
    loop {
        match attempt(docker, container).await {
            Ok(()) => return Ok(()),
            Err(error) if is_missing(&error) => return Ok(()),
            // It ended by itself, and the engine is removing it already: it is gone once it is
            // missing. An engine that is busy or just starting gets another chance, too.
            Err(error) => {
                attempts += 1;
                if attempts == MAX_ATTEMPTS {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

async fn attempt(docker: &Docker, container: &str) -> Result<(), ApiError> {
    let options = RemoveContainerOptions { force: true, v: true, link: false };
    docker.remove_container(container, Some(options)).await
}

/// The stage of a container's life.
#[derive(Debug, Default)]
pub struct ContainerStage(AtomicU8);

impl ContainerStage {
    /// The engine was asked to create it.
    const REQUESTED: u8 = 0;
    /// It exists.
    pub const CREATED: u8 = 1;
    /// It was started, so it ends with our connection to it.
    pub const STARTED: u8 = 2;
    /// It no longer exists.
    pub const GONE: u8 = 3;

    pub fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Release);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// Removes a container when its keeper is dropped before it has done so: the runtime shuts down.
#[derive(Debug)]
pub struct RemovalGuard {
    pub docker: Docker,
    pub name: String,
    pub stage: Arc<ContainerStage>,
}

impl Drop for RemovalGuard {
    fn drop(&mut self) {
        let stage = self.stage.get();
        if stage == ContainerStage::GONE {
            return;
        }
        let (docker, name) = (self.docker.clone(), self.name.clone());
        let work = async move {
            // A requested container appears a moment later.
            while let (ContainerStage::REQUESTED, Err(error)) =
                (stage, attempt(&docker, &name).await)
            {
                if !is_missing(&error) {
                    break;
                }
                tokio::time::sleep(FIRST_PAUSE).await;
            }
            let _ = remove(&docker, &name).await;
        };
        let is_started = stage == ContainerStage::STARTED;
        let limit = if is_started { BACKGROUND } else { MAX_DELAY };
        // A runtime that shuts down cannot be used any more, so a thread does this.
        let thread = std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            {
                let _ = runtime.block_on(async { tokio::time::timeout(limit, work).await });
            }
        });
        // Nobody waits for a started container: if the process ends now, its standard input closes,
        // and that ends the container, too. One that was not started would stay, because a thread
        // does not outlive its process.
        if !is_started {
            let _ = thread.join();
        }
    }
}
