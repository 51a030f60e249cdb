//! The volume of a container: it has no name of its own, and goes with its container when we or the engine remove that.
//!
//! Somebody who removes the container by hand leaves it behind. A label tells whose it is.

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
    engine::is_missing,
    owner::{OWNER, Owner},
};

/// The label that tells which container a volume belongs to.
const CONTAINER: &str = "cellblock.container";

/// Labels the volume that will be made with a container; gives the value that finds it again, if there is one.
pub(crate) fn mark(body: &mut ContainerCreateBody, owner: &Owner) -> Option<String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mounts = body.host_config.as_mut()?.mounts.as_mut()?;
    let volume = mounts
        .iter_mut()
        .find(|mount| mount.typ == Some(MountType::VOLUME) && mount.source.is_none())?;
    let label = format!("{}/{}", owner.label(), NEXT.fetch_add(1, Ordering::Relaxed));
    let labels = [(OWNER.to_owned(), owner.label()), (CONTAINER.to_owned(), label.clone())];
    volume.volume_options.get_or_insert_default().labels = Some(HashMap::from(labels));
    Some(label)
}

/// Removes the volume with this label.
pub(crate) async fn remove(docker: &Docker, label: &str) -> Result<(), ApiError> {
    for (name, _) in labelled(docker, &format!("{CONTAINER}={label}")).await? {
        match docker.remove_volume(&name, None::<RemoveVolumeOptions>).await {
            Err(error) if !is_missing(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The volumes with a label that no container uses, and their owners.
pub(crate) async fn labelled(
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
        .map(|volume| (volume.name, volume.labels.get(OWNER).and_then(|label| Owner::parse(label))))
        .collect())
}
