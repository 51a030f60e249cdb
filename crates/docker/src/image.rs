//! The management of images: pulling, listing and removing them.

use bollard::{
    models::ImageSummary,
    query_parameters::{ListImagesOptions, RemoveImageOptions},
};
use cellblock_exec::{BoxFuture, Error, Progress, Result};

use crate::{
    build::build_default_image,
    engine::Engine,
    failure::{is_missing, reason, start_error},
    names::{DEFAULT_IMAGE, IMAGE_REPOSITORY, PACKAGES_LABEL, PACKAGES_REPOSITORY, RECIPE_LABEL},
    recipe::image_reference,
    registry::pull_from_registry,
    session_image::missing_image,
};

/// An image of ours in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name: `docker-python`, or the engine's name of a layer with packages.
    pub name: String,
    /// The engine's id of it.
    pub id: String,
    /// Its base: `debian` or `registry`; `None` for a layer with packages.
    pub recipe: Option<String>,
    /// The packages of a layer, as `name==version`.
    pub packages: Vec<String>,
    /// Its size in bytes, including layers that it shares with other images.
    pub bytes: u64,
    /// True if this version of cellblock would use it.
    pub current: bool,
}

/// Brings an image into the engine: makes `docker-python`, or pulls any other one from its
/// registry.
///
/// # Errors
/// The errors of [`Engine::connect`]; [`Error::Start`] when the image does not exist or cannot be
/// made.
pub fn pull<'a>(name: &'a str, progress: &'a dyn Progress) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let engine = Engine::connect().await?;
        if name == DEFAULT_IMAGE {
            build_default_image(&engine, progress).await?;
        } else {
            pull_from_registry(&engine, name, progress).await?;
        }
        progress.finish();
        Ok(())
    })
}

/// Lists the images of ours in the engine: those that we made, and layers with packages.
///
/// # Errors
/// The errors of [`Engine::connect`]; [`Error::Start`] when the engine does not list its images.
pub fn images() -> BoxFuture<'static, Result<Vec<ImageInfo>>> {
    Box::pin(async { list_images(&Engine::connect().await?).await })
}

async fn list_images(engine: &Engine) -> Result<Vec<ImageInfo>> {
    let listed = engine.docker.list_images(None::<ListImagesOptions>).await;
    let listed = listed.map_err(|error| start_error("the list of images", &error))?;
    let mut images: Vec<ImageInfo> = listed.into_iter().flat_map(images_of_ours).collect();
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// Returns an entry for each tag of an image that is ours.
fn images_of_ours(image: ImageSummary) -> Vec<ImageInfo> {
    let mut found = Vec::new();
    for tag in image.repo_tags {
        let packages =
            image.labels.get(PACKAGES_LABEL).filter(|_| tag.starts_with(PACKAGES_REPOSITORY));
        if packages.is_none() && !tag.starts_with(IMAGE_REPOSITORY) {
            continue;
        }
        let current = packages.is_some() || tag == image_reference(DEFAULT_IMAGE);
        found.push(ImageInfo {
            name: if current && packages.is_none() { DEFAULT_IMAGE.to_owned() } else { tag },
            id: image.id.clone(),
            recipe: image.labels.get(RECIPE_LABEL).cloned().filter(|_| packages.is_none()),
            packages: packages
                .and_then(|label| serde_json::from_str(label).ok())
                .unwrap_or_default(),
            bytes: u64::try_from(image.size).unwrap_or(0),
            current,
        });
    }
    found
}

/// Removes an image from the engine. With `docker-python`, also the images of earlier versions and
/// the layers with packages. Returns the names of the removed images.
///
/// # Errors
/// The errors of [`Engine::connect`]; [`Error::Start`] when the engine does not have it;
/// [`Error::Invalid`] when it is in use.
pub fn remove(name: &str) -> BoxFuture<'_, Result<Vec<String>>> {
    Box::pin(async move {
        let engine = Engine::connect().await?;
        let mut removed = Vec::new();
        if name == DEFAULT_IMAGE {
            // Layers first: they are made of the other images.
            let (layers, others): (Vec<_>, Vec<_>) = list_images(&engine)
                .await?
                .into_iter()
                .partition(|image| image.name.starts_with(PACKAGES_REPOSITORY));
            let all = layers.into_iter().chain(others);
            for image in all.filter(|image| image.name != DEFAULT_IMAGE) {
                remove_one(&engine, &image.name).await?;
                removed.push(image.name);
            }
        }
        match remove_one(&engine, name).await {
            Ok(()) => removed.push(name.to_owned()),
            // The engine may have an earlier version only.
            Err(Error::Start { .. }) if !removed.is_empty() => {}
            Err(error) => return Err(error),
        }
        Ok(removed)
    })
}

async fn remove_one(engine: &Engine, name: &str) -> Result<()> {
    let reference = image_reference(name);
    match engine.docker.remove_image(&reference, None::<RemoveImageOptions>, None).await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(&error) => Err(missing_image(name)),
        Err(error) => Err(Error::Invalid {
            what: "image",
            why: format!("{name} cannot be removed: {}", reason(&error)),
        }),
    }
}
