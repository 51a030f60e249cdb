//! The volume of a container. It has no name of its own, and is removed with its container by us or
//! by the engine.
//!
//! Somebody who removes the container by hand leaves the volume behind. A label says whose it is.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use bollard::{
    Docker,
    errors::Error as ApiError,
    models::{ContainerCreateBody, MountType},
    query_parameters::{ListVolumesOptions, RemoveVolumeOptions},
};

use crate::{
    failure::is_missing,
    names::{CONTAINER_LABEL, OWNER_LABEL},
    owner::Owner,
};

/// Labels the volume that the engine will create with a container. Returns the label, by which the
/// volume can be found, or `None` if there is no volume.
pub fn mark(body: &mut ContainerCreateBody, owner: &Owner) -> Option<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mounts = body.host_config.as_mut()?.mounts.as_mut()?;
    let volume = mounts
        .iter_mut()
        .find(|mount| mount.typ == Some(MountType::VOLUME) && mount.source.is_none())?;
    let label = format!("{}/{}", owner.label(), NEXT.fetch_add(1, Ordering::Relaxed));
    let labels =
        [(OWNER_LABEL.to_owned(), owner.label()), (CONTAINER_LABEL.to_owned(), label.clone())];
    volume.volume_options.get_or_insert_default().labels = Some(HashMap::from(labels));
    Some(label)
}

/// Removes the volume with this label.
pub async fn remove(docker: &Docker, label: &str) -> Result<(), ApiError> {
    for (name, _) in labelled(docker, &format!("{CONTAINER_LABEL}={label}")).await? {
        match docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
            Err(error) if !is_missing(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the names and owners of the volumes with a label that no container uses.
pub async fn labelled(
    docker: &Docker,
    label: &str,
) -> Result<Vec<(String, Option<Owner>)>, ApiError> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![label.to_owned()]),
        ("dangling".to_owned(), vec!["true".to_owned()]),
    ]);
    let listed = docker.list_volumes(Some(ListVolumesOptions { filters: Some(filters) })).await?;
    let volumes = listed.volumes.unwrap_or_default();
    Ok(volumes
        .into_iter()
        .map(|volume| {
            (volume.name, volume.labels.get(OWNER_LABEL).and_then(|label| Owner::parse(label)))
        })
        .collect())
}
