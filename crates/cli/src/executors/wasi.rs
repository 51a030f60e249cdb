//! The WebAssembly executor.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use cellblock_exec::{Executor, Isolation, Language, Requirement};
use cellblock_wasi::{ImageInfo, ImageState, ImageStore, Options, WasiExecutor};

use super::row::{Choices, ExecutorOption, ImageEntry, Images, Row};
use crate::render::{progress::ProgressDisplay, text::format_bytes};

pub const ROW: Row = Row {
    name: "wasi",
    isolation: Isolation::Wasm,
    options: &[ExecutorOption::Image, ExecutorOption::Fuel],
    languages: || vec![Language::PYTHON],
    start: |choices, progress| Box::pin(start(choices, progress)),
    checks: cellblock_wasi::checks,
    images: Some(&StoredImages),
};

async fn start(
    choices: Choices,
    progress: ProgressDisplay,
) -> cellblock_exec::Result<Arc<dyn Executor>> {
    let defaults = Options::default();
    let image = choices.image.unwrap_or(defaults.image);
    let options = Options { image, fuel: choices.fuel, ..Options::default() };
    let executor = WasiExecutor::start(ImageStore::in_user_cache()?, options, &progress).await?;
    Ok(Arc::new(executor))
}

/// The images in the user's cache.
struct StoredImages;

#[async_trait]
impl Images for StoredImages {
    fn can_have(&self, _: &str) -> bool {
        true
    }

    async fn list(&self) -> Result<Vec<ImageEntry>> {
        Ok(ImageStore::in_user_cache()?.list()?.iter().map(entry).collect())
    }

    async fn pull(&self, name: &str, progress: &ProgressDisplay) -> Result<String> {
        let info = ImageStore::in_user_cache()?.pull(name, progress).await?;
        Ok(format!("{name}: {}", description(&info)))
    }

    async fn remove(&self, name: &str) -> Result<String> {
        let freed = ImageStore::in_user_cache()?.remove(name)?;
        Ok(format!("removed {name}, freed {}", format_bytes(freed)))
    }

    fn prune(&self) -> Result<u64> {
        Ok(ImageStore::in_user_cache()?.prune()?)
    }

    fn verify(&self, name: &str) -> Result<ImageEntry> {
        Ok(entry(&ImageStore::in_user_cache()?.verify(name)?))
    }

    async fn extend(
        &self,
        base: &str,
        name: &str,
        packages: &[Requirement],
        progress: &ProgressDisplay,
    ) -> Result<String> {
        let store = ImageStore::in_user_cache()?;
        let info = store.extend(base, name, packages, progress).await?;
        Ok(format!("{name}: {}", description(&info)))
    }
}

fn entry(info: &ImageInfo) -> ImageEntry {
    let packages: Vec<_> =
        info.packages.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    let (state, why) = match &info.state {
        ImageState::Ready => ("ready", None),
        ImageState::Available => ("not_pulled", None),
        ImageState::Corrupt { why } => ("damaged", Some(why)),
        _ => ("other", None),
    };
    ImageEntry {
        name: info.name.clone(),
        is_ready: matches!(info.state, ImageState::Ready),
        description: description(info),
        json: serde_json::json!({
            "executor": "wasi", "name": info.name, "state": state, "why": why,
            "python": info.python, "bytes": info.bytes, "packages": packages
        }),
    }
}

fn description(info: &ImageInfo) -> String {
    let state = match &info.state {
        ImageState::Ready => "ready".into(),
        ImageState::Available => "not pulled".into(),
        ImageState::Corrupt { why } => format!("damaged, will be rebuilt on next use: {why}"),
        other => format!("{other:?}"),
    };
    let python =
        if info.python.is_empty() { String::new() } else { format!(", Python {}", info.python) };
    format!("{state}{python}, {} packages, {}", info.packages.len(), format_bytes(info.bytes))
}
