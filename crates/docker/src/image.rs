//! The images that sessions start from, as the engine has them.

use std::sync::Arc;

use bollard::{
    models::ImageInspect,
    query_parameters::{CreateImageOptions, ListImagesOptions, RemoveImageOptions},
};
use cellblock_driver::DriverProgram;
use cellblock_exec::{Error, Progress, Result};
use futures_util::StreamExt;

use crate::{
    engine::{Engine, is_missing, reason, start},
    packages, recipe,
};

/// The name of the image that we make ourselves.
pub const DEFAULT: &str = "docker-python";
/// The label of images of ours, with the way they were made.
pub(crate) const RECIPE: &str = "cellblock.recipe";
/// The label with the languages that an image runs, with commas between them.
pub(crate) const LANGUAGES: &str = "cellblock.languages";

/// An image that sessions can start from.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// Directories that it declares as volumes.
    pub(crate) volumes: Vec<String>,
    /// The languages that it says it runs; `None` when it says nothing.
    pub(crate) languages: Option<Vec<String>>,
    /// The driver's program, compiled for its interpreter.
    pub(crate) program: DriverProgram,
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// An image in the engine that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name: `docker-python`, or the engine's name of a layer with packages.
    pub name: String,
    /// The engine's id of it.
    pub id: String,
    /// On what it was made: `debian` or `registry`; `None` for a layer with packages.
    pub recipe: Option<String>,
    /// What a layer has, as `name==version`.
    pub packages: Vec<String>,
    /// Its size in bytes, with the layers that it shares with others.
    pub bytes: u64,
    /// Whether this version of cellblock would use it.
    pub current: bool,
}

/// The name by which the engine knows an image.
pub fn reference(name: &str) -> String {
    if name == DEFAULT { recipe::reference() } else { name.to_owned() }
}

/// Finds an image in the engine.
pub(crate) async fn find(engine: &Engine, name: &str) -> Result<Arc<Image>> {
    let found = match engine.docker.inspect_image(&reference(name)).await {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Err(missing(name)),
        // A name that the engine does not understand.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 400, message }) => {
            return Err(Error::Invalid { what: "image", why: format!("{name:?}: {message}") });
        }
        Err(error) => return Err(start(format!("a container of image {name}"), &error)),
    };
    let ImageInspect { id, config, .. } = found;
    let config = config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let languages = labels
        .get(LANGUAGES)
        .filter(|list| !list.is_empty())
        .map(|list| list.split(',').map(str::to_owned).collect());
    let volumes = config.volumes.unwrap_or_default();
    Ok(Arc::new(Image {
        id: id.unwrap_or_default(),
        volumes,
        languages,
        program: DriverProgram::new(),
    }))
}

fn missing(name: &str) -> Error {
    let hint = if name == DEFAULT {
        "make it with `cellblock image pull docker-python`".to_owned()
    } else {
        format!("get it with `cellblock image pull {name}` or `docker pull {name}`")
    };
    let why = format!("the engine has no image {name}; {hint}");
    Error::Start { what: format!("a container of image {name}"), source: why.into() }
}

/// Brings an image into the engine: makes `docker-python`, pulls any other one from its registry.
///
/// # Errors
/// Those of [`Engine::connect`]; [`Error::Start`] when there is no such image, or no way to make it.
pub async fn pull(name: &str, progress: &dyn Progress) -> Result<()> {
    let engine = Engine::connect().await?;
    if name == DEFAULT {
        recipe::make(&engine, progress).await?;
    } else {
        from_registry(&engine, name, progress).await?;
    }
    progress.finish();
    Ok(())
}

/// Pulls an image from its registry.
pub(crate) async fn from_registry(
    engine: &Engine,
    name: &str,
    progress: &dyn Progress,
) -> Result<()> {
    progress.step("downloading");
    // Without a tag the engine would pull all there are.
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = (!last.contains(':') && !last.contains('@')).then(|| "latest".to_owned());
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag,
        ..CreateImageOptions::default()
    };
    let docker = engine.patient();
    let mut messages = docker.create_image(Some(options), None, None);
    let mut layers: Vec<(String, u64, u64)> = Vec::new();
    while let Some(message) = messages.next().await {
        let message =
            message.map_err(|error| start(format!("the pull of image {name}"), &error))?;
        let detail = message.progress_detail.unwrap_or_default();
        let (Some(id), "Downloading") = (message.id, message.status.as_deref().unwrap_or_default())
        else {
            continue;
        };
        let bytes =
            |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let (done, total) = (bytes(detail.current), bytes(detail.total));
        match layers.iter_mut().find(|layer| layer.0 == id) {
            Some(layer) => *layer = (id, done, total),
            None => layers.push((id, done, total)),
        }
        progress.advance(
            layers.iter().map(|layer| layer.1).sum(),
            layers.iter().map(|layer| layer.2).sum(),
        );
    }
    Ok(())
}

/// The images in the engine that are ours: those that we made, and layers with packages.
///
/// # Errors
/// Those of [`Engine::connect`]; [`Error::Start`] when the engine does not list its images.
pub async fn images() -> Result<Vec<ImageInfo>> {
    let engine = Engine::connect().await?;
    let listed = engine.docker.list_images(None::<ListImagesOptions>).await;
    let mut images = Vec::new();
    for image in listed.map_err(|error| start("the list of images", &error))? {
        for tag in image.repo_tags {
            let packages =
                image.labels.get(packages::LABEL).filter(|_| tag.starts_with(packages::REPOSITORY));
            if packages.is_none() && !tag.starts_with(recipe::REPOSITORY) {
                continue;
            }
            let current = packages.is_some() || tag == recipe::reference();
            images.push(ImageInfo {
                name: if current && packages.is_none() { DEFAULT.to_owned() } else { tag },
                id: image.id.clone(),
                recipe: image.labels.get(RECIPE).cloned().filter(|_| packages.is_none()),
                packages: packages
                    .and_then(|label| serde_json::from_str(label).ok())
                    .unwrap_or_default(),
                bytes: u64::try_from(image.size).unwrap_or(0),
                current,
            });
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// Removes an image from the engine; of `docker-python` also what earlier versions made, and the layers with packages.
/// Gives the names removed.
///
/// # Errors
/// Those of [`Engine::connect`]; [`Error::Start`] when it is not there; [`Error::Invalid`] when it is in use.
pub async fn remove(name: &str) -> Result<Vec<String>> {
    let engine = Engine::connect().await?;
    let mut removed = Vec::new();
    if name == DEFAULT {
        // Layers first: they are made of the others.
        let (layers, others): (Vec<_>, Vec<_>) = images()
            .await?
            .into_iter()
            .partition(|image| image.name.starts_with(packages::REPOSITORY));
        for image in layers.into_iter().chain(others).filter(|image| image.name != DEFAULT) {
            remove_one(&engine, &image.name).await?;
            removed.push(image.name);
        }
    }
    match remove_one(&engine, name).await {
        Ok(()) => removed.push(name.to_owned()),
        // It may be there in an earlier version only.
        Err(Error::Start { .. }) if !removed.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(removed)
}

async fn remove_one(engine: &Engine, name: &str) -> Result<()> {
    match engine.docker.remove_image(&reference(name), None::<RemoveImageOptions>, None).await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Err(missing(name)),
        Err(error) => Err(Error::Invalid {
            what: "image",
            why: format!("{name} cannot be removed: {}", reason(&error)),
        }),
    }
}
