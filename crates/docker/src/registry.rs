//! The pull of an image from its registry.

use bollard::query_parameters::CreateImageOptions;
use cellblock_exec::{Progress, Result};
use futures_util::StreamExt;

use crate::{engine::Engine, failure::start_error};

/// Pulls an image from its registry.
pub async fn pull_from_registry(
    engine: &Engine,
    name: &str,
    progress: &dyn Progress,
) -> Result<()> {
    progress.step("downloading");
    // Without a tag the engine would pull all tags.
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = (!last.contains(':') && !last.contains('@')).then(|| "latest".to_owned());
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag,
        ..CreateImageOptions::default()
    };
    let docker = engine.patient();
    let mut messages = docker.create_image(Some(options), None, None);
    let mut layers: Vec<LayerProgress> = Vec::new();
    while let Some(message) = messages.next().await {
        let message =
            message.map_err(|error| start_error(format!("the pull of image {name}"), &error))?;
        let detail = message.progress_detail.unwrap_or_default();
        let (Some(id), "Downloading") = (message.id, message.status.as_deref().unwrap_or_default())
        else {
            continue;
        };
        let bytes =
            |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let layer = LayerProgress { id, done: bytes(detail.current), total: bytes(detail.total) };
        match layers.iter_mut().find(|known| known.id == layer.id) {
            Some(known) => *known = layer,
            None => layers.push(layer),
        }
        progress.advance(
            layers.iter().map(|layer| layer.done).sum(),
            layers.iter().map(|layer| layer.total).sum(),
        );
    }
    Ok(())
}

/// The progress of a layer's download, in bytes.
struct LayerProgress {
    id: String,
    done: u64,
    total: u64,
}
