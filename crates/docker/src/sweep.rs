//! Removing what a crash left in the engine.
//!
//! Mostly nothing is: a container ends when the connection to it does. But one that was made and not yet started, or whose
//! engine was down at that time, stays.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use bollard::{
    errors::Error as ApiError,
    query_parameters::{
        ListContainersOptions, ListImagesOptions, RemoveImageOptions, RemoveVolumeOptions,
    },
};

use crate::{
    connect::Address,
    engine::Engine,
    owner::{Fate, OWNER, Owner},
    packages::LABEL,
    removal::remove,
    volume,
};

/// Removes the containers and volumes whose owner is dead, and layers that lost their name to a newer one. What belongs to somebody
/// who lives, or might, stays; so does everything that is not ours. Gives the number of containers removed.
pub(crate) async fn sweep(engine: &Engine) -> Result<usize, ApiError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![OWNER.to_owned()])])),
        ..ListContainersOptions::default()
    };
    let mut removed = 0;
    for container in engine.docker.list_containers(Some(options)).await? {
        let owner = container.labels.as_ref().and_then(|labels| Owner::parse(labels.get(OWNER)?));
        let (Some(owner), Some(id)) = (owner, container.id) else { continue };
        if is_dead(engine, &owner) {
            remove(&engine.docker, &id).await?;
            removed += 1;
        }
    }
    for (name, owner) in volume::labelled(&engine.docker, OWNER).await? {
        if owner.is_some_and(|owner| is_dead(engine, &owner)) {
            // It may be in use again, or another sweep was faster.
            let _ = engine.docker.remove_volume(&name, None::<RemoveVolumeOptions>).await;
        }
    }
    forget_layers(engine).await?;
    Ok(removed)
}

fn is_dead(engine: &Engine, owner: &Owner) -> bool {
    // Machines that share a disk image can share their identity, and a distant engine. Then only the same start of the
    // same machine tells anything.
    let near = matches!(engine.endpoint.address, Address::Socket(_));
    owner.fate(&engine.owner) == Fate::Dead && (near || engine.owner.same_start(owner))
}

/// Two processes that make the same layer at once leave one without a name.
async fn forget_layers(engine: &Engine) -> Result<(), ApiError> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![LABEL.to_owned()]),
        ("dangling".to_owned(), vec!["true".to_owned()]),
    ]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let hour_ago = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
        .saturating_sub(3600);
    for image in engine.docker.list_images(Some(options)).await? {
        // A younger one may be about to get its name.
        if u64::try_from(image.created).is_ok_and(|created| created > hour_ago) {
            continue;
        }
        // One in use stays; the next sweep has another look.
        let _ = engine.docker.remove_image(&image.id, None::<RemoveImageOptions>, None).await;
    }
    Ok(())
}
