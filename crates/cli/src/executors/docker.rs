//! The Docker executor.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use cellblock_docker::{DockerExecutor, Gpus, ImageInfo, Options};
use cellblock_exec::{Executor, Isolation};

use super::row::{Choices, ExecutorOption, ImageEntry, Images, Row, languages_of_cells};
use crate::render::{
    progress::ProgressDisplay,
    text::{format_bytes, note},
};

pub const ROW: Row = Row {
    name: "docker",
    isolation: Isolation::Container,
    options: &[
        ExecutorOption::Image,
        ExecutorOption::Runtime,
        ExecutorOption::Mount,
        ExecutorOption::Gpus,
    ],
    languages: languages_of_cells,
    start: |choices, progress| Box::pin(start(choices, progress)),
    checks: cellblock_docker::checks,
    images: Some(&EngineImages),
};

async fn start(
    choices: Choices,
    progress: ProgressDisplay,
) -> cellblock_exec::Result<Arc<dyn Executor>> {
    let defaults = Options::default();
    let options = Options {
        image: choices.image.unwrap_or(defaults.image),
        runtime: choices.runtime,
        mounts: choices.mounts,
        gpus: choices.gpus.then_some(Gpus::All),
        // One run needs one session.
        idle: 0,
        ..Options::default()
    };
    let executor = DockerExecutor::start(options, &progress).await?;
    Ok(Arc::new(executor))
}

/// The images in the Docker engine.
struct EngineImages;

#[async_trait]
impl Images for EngineImages {
    fn can_have(&self, name: &str) -> bool {
        name == cellblock_docker::DEFAULT_IMAGE || name.contains(['/', ':'])
    }

    async fn list(&self) -> Result<Vec<ImageEntry>> {
        match cellblock_docker::images().await {
            Ok(images) => Ok(images.iter().map(entry).collect()),
            Err(error) => {
                // Most machines have no engine, and their other images matter.
                note(&format!("images of Docker are not listed: {error}"));
                Ok(Vec::new())
            }
        }
    }

    async fn pull(&self, name: &str, progress: &ProgressDisplay) -> Result<String> {
        cellblock_docker::pull(name, progress).await?;
        Ok(format!("{name}: ready in the Docker engine"))
    }

    async fn remove(&self, name: &str) -> Result<String> {
        let removed = cellblock_docker::remove(name).await?;
        Ok(format!("removed from the Docker engine: {}", removed.join(", ")))
    }
}

fn entry(info: &ImageInfo) -> ImageEntry {
    let state = if info.current { "ready" } else { "old" };
    let shown_state = if info.current { "ready" } else { "of another version" };
    let packages = match info.packages.as_slice() {
        [] => String::new(),
        packages => packages.join(" ") + ", ",
    };
    let size = format_bytes(info.bytes);
    ImageEntry {
        name: info.name.clone(),
        is_ready: info.current,
        description: format!("{shown_state} in the Docker engine, {packages}{size}"),
        json: serde_json::json!({
            "executor": "docker", "name": info.name, "state": state, "why": null, "python": null,
            "bytes": info.bytes, "packages": info.packages
        }),
    }
}
