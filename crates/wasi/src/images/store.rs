//! The images of a cache directory: pulling, listing, checking, removing and loading them.

use std::path::PathBuf;

use cellblock_cache::{Objects, Rehash, user_directory};
#[cfg(doc)]
use cellblock_exec::Error;
use cellblock_exec::{Progress, Requirement, Result};
use cellblock_packages::environments;

use super::{extended, info::ImageInfo, loaded::Loaded, shipped};

/// The images of one cache directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    /// The cache directory.
    pub root: PathBuf,
    pub(crate) objects: Objects,
}

impl ImageStore {
    /// The user's cache: `$CELLBLOCK_CACHE`, else `$XDG_CACHE_HOME/cellblock`, else `~/.cache/cellblock`.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be made or is not the user's own; [`Error::Invalid`] when none of the variables
    /// and no home directory is set.
    pub fn in_user_cache() -> Result<Self> {
        Self::at(user_directory()?)
    }

    /// The cache at `root`, made if it is not there.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be made or is not the user's own.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        Ok(Self { objects: Objects::open(root.clone())?, root })
    }

    /// Makes an image ready: fetches its guest, compiles it, boots it and takes its memory image. Steps that were done
    /// before are not repeated.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image; [`Error::Install`] when it cannot be fetched; [`Error::Storage`] when the
    /// disk is full; [`Error::Start`] when the guest does not boot.
    pub async fn pull(&self, name: &str, progress: &dyn Progress) -> Result<ImageInfo> {
        self.load(name, None, progress).await?;
        self.info(name, Rehash::Touched)
    }

    /// All images: those that cellblock ships and those made by [`ImageStore::extend`].
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let names = shipped::names().into_iter().chain(extended::names(&self.objects)?);
        names.map(|name| self.info(&name, Rehash::Touched)).collect()
    }

    /// Reads an image whole and checks every hash.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image. Damage is not an error but a state of the result.
    pub fn verify(&self, name: &str) -> Result<ImageInfo> {
        self.info(name, Rehash::All)
    }

    /// Removes an image; gives the bytes freed. What other images share with it stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image; [`Error::Storage`] when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<u64> {
        if extended::exists(&self.objects, name) {
            return extended::remove(&self.objects, name);
        }
        let mut freed = shipped::remove(&self.objects, name)?;
        for image in extended::names(&self.objects)? {
            // Without its base it cannot be used.
            if extended::base(&self.objects, &image)? == name {
                freed += extended::remove(&self.objects, &image)?;
            }
        }
        Ok(freed)
    }

    /// Removes what no image of this version of cellblock and no named environment needs: objects of earlier versions, of
    /// other processors, and packages that were installed for sessions. Gives the bytes freed. What a running session uses
    /// stays usable to it.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read or changed.
    pub fn prune(&self) -> Result<u64> {
        let mut needed = environments::needed_objects(&self.objects)?;
        for name in shipped::names() {
            needed.extend(shipped::objects_of(&name)?);
        }
        for name in extended::names(&self.objects)? {
            needed.extend(extended::objects_of(&self.objects, &name)?);
        }
        let all = self.objects.ids()?;
        // The local model is no part of an image, and its parts say by themselves whose they are.
        let is_image = |id: &&String| !id.starts_with("model-");
        all.iter()
            .filter(is_image)
            .filter(|id| !needed.contains(id))
            .map(|id| self.objects.remove(id))
            .sum()
    }

    /// Makes the image `name`: `base` with `packages` installed and imported, so that using them is free. Nothing is
    /// compiled. An extended image of that name is replaced.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that cannot be one or is a shipped image's; otherwise as [`ImageStore::pull`], and
    /// [`Error::Install`] for the packages.
    pub async fn extend(
        &self,
        base: &str,
        name: &str,
        packages: &[Requirement],
        progress: &dyn Progress,
    ) -> Result<ImageInfo> {
        extended::make(&self.objects, base, name, packages, progress).await?;
        progress.finish();
        self.info(name, Rehash::Touched)
    }

    /// Loads an image, making it first if it is not there. With `fuel`, turns are limited to that many instructions.
    pub(crate) async fn load(
        &self,
        name: &str,
        fuel: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        let loaded = if extended::exists(&self.objects, name) {
            extended::load(&self.objects, name, fuel, progress).await?
        } else {
            shipped::load(&self.objects, name, fuel, progress).await?
        };
        progress.finish();
        Ok(loaded)
    }

    fn info(&self, name: &str, rehash: Rehash) -> Result<ImageInfo> {
        if extended::exists(&self.objects, name) {
            extended::info(&self.objects, name, rehash)
        } else {
            shipped::info(&self.objects, name, rehash)
        }
    }
}
