//! The removal of what a crash left in the engine.
//!
//! Usually there is nothing: a container ends with the connection to it. But a container that was
//! created and not started yet, or whose engine was down at that time, stays.

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
    names::{OWNER_LABEL, PACKAGES_LABEL},
    owner::{Liveness, Owner},
    removal::remove,
    volume,
};

/// The minimum age of a layer without a name that is removed, in seconds. A younger one may be
/// about to get its name.
const MIN_LAYER_AGE: u64 = 3600;

/// Removes the containers and volumes whose owner is dead, and layers that lost their name to a
/// newer one. Everything whose owner is or may be alive stays, and everything that is not ours.
/// Returns the number of containers removed.
pub async fn sweep(engine: &Engine) -> Result<usize, ApiError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![OWNER_LABEL.to_owned()])])),
        ..ListContainersOptions::default()
    };
    let mut removed = 0;
    for container in engine.docker.list_containers(Some(options)).await? {
        let owner =
            container.labels.as_ref().and_then(|labels| Owner::parse(labels.get(OWNER_LABEL)?));
        let (Some(owner), Some(id)) = (owner, container.id) else { continue };
        if is_dead(engine, &owner) {
            remove(&engine.docker, &id).await?;
            removed += 1;
        }
    }
    for (name, owner) in volume::labelled(&engine.docker, OWNER_LABEL).await? {
        if owner.is_some_and(|owner| is_dead(engine, &owner)) {
            // It may be in use again, or another sweep may have removed it.
            let _ = engine.docker.remove_volume(&name, None::<RemoveVolumeOptions>).await;
        }
    }
    remove_unnamed_layers(engine).await?;
    Ok(removed)
}

fn is_dead(engine: &Engine, owner: &Owner) -> bool {
    // Machines that share a disk image may share their identity, and a distant engine. Then only
    // the same boot of the same machine is evidence.
    let is_near = matches!(engine.endpoint.address, Address::Socket(_));
    owner.liveness(&engine.owner) == Liveness::Dead && (is_near || engine.owner.same_boot(owner))
}

/// Removes layers without a name: two processes that make the same layer at once leave one.
async fn remove_unnamed_layers(engine: &Engine) -> Result<(), ApiError> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![PACKAGES_LABEL.to_owned()]),
        ("dangling".to_owned(), vec!["true".to_owned()]),
    ]);
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let newest = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
        .saturating_sub(MIN_LAYER_AGE);
    for image in engine.docker.list_images(Some(options)).await? {
        if u64::try_from(image.created).is_ok_and(|created| created > newest) {
            continue;
        }
        // One in use stays until the next sweep.
        let _ = engine.docker.remove_image(&image.id, None::<RemoveImageOptions>, None).await;
    }
    Ok(())
}
