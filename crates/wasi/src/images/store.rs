//! The images of a cache directory: pulling, listing, checking, removing and loading them.

use std::path::PathBuf;

use cellblock_cache::{Objects, Rehash, user_directory};
#[cfg(doc)]
use cellblock_exec::Error;
use cellblock_exec::{BoxFuture, Progress, Requirement, Result};
use cellblock_packages::environments;

use super::{extended, info::ImageInfo, loaded::LoadedImage, shipped};

/// The images of one cache directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    /// The cache directory.
    pub root: PathBuf,
    objects: Objects,
}

impl ImageStore {
    /// Opens the user's cache: `$CELLBLOCK_CACHE`, else `$XDG_CACHE_HOME/cellblock`, else
    /// `~/.cache/cellblock`.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be created or does not belong to the user;
    /// [`Error::Invalid`] when neither these variables nor `HOME` are set.
    pub fn in_user_cache() -> Result<Self> {
        Self::open(user_directory()?)
    }

    /// Opens the cache at `root`; creates it if it does not exist.
    ///
    /// # Errors
    /// [`Error::Storage`] when it cannot be created or does not belong to the user.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        Ok(Self { objects: Objects::open(root.clone())?, root })
    }

    /// Makes an image ready: downloads its guest, compiles it, boots it and makes its memory image.
    /// Completed steps are not repeated.
    ///
    /// # Errors
    /// - [`Error::Invalid`] for an unknown image.
    /// - [`Error::Install`] when it cannot be downloaded.
    /// - [`Error::Storage`] when the cache cannot be written, such as on a full disk.
    /// - [`Error::Start`] when the guest does not boot.
    pub fn pull<'p>(
        &'p self,
        name: &'p str,
        progress: &'p dyn Progress,
    ) -> BoxFuture<'p, Result<ImageInfo>> {
        Box::pin(async move {
            self.load(name, None, progress).await?;
            self.info(name, Rehash::Touched)
        })
    }

    /// Lists all images: those that cellblock ships and those made by [`ImageStore::extend`].
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be read.
    pub fn list(&self) -> Result<Vec<ImageInfo>> {
        let names = shipped::names().into_iter().chain(extended::names(&self.objects)?);
        names.map(|name| self.info(&name, Rehash::Touched)).collect()
    }

    /// Checks the hashes of all files of an image. Damage is not an error but a state of the
    /// result.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image.
    pub fn verify(&self, name: &str) -> Result<ImageInfo> {
        self.info(name, Rehash::All)
    }

    /// Removes an image, except the objects that it shares with other images. Returns the number of
    /// bytes freed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown image; [`Error::Storage`] when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<u64> {
        if extended::exists(&self.objects, name) {
            return extended::remove(&self.objects, name);
        }
        let mut freed = shipped::remove(&self.objects, name)?;
        for image in extended::names(&self.objects)? {
            // It cannot be used without its base.
            if extended::base(&self.objects, &image)? == name {
                freed += extended::remove(&self.objects, &image)?;
            }
        }
        Ok(freed)
    }

    /// Removes all objects that no image of this version of cellblock and no named environment
    /// needs: objects of earlier versions and for other processors, and packages that were
    /// installed for sessions. Running sessions keep what they use. Returns the number of bytes
    /// freed.
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
        // The local model is not part of an image; its objects have names of their own.
        let is_image = |id: &&String| !id.starts_with("model-");
        all.iter()
            .filter(is_image)
            .filter(|id| !needed.contains(id))
            .map(|id| self.objects.remove(id))
            .sum()
    }

    /// Makes the image `name`: `base` with `packages` installed and imported, so that sessions do
    /// not wait for either. Nothing is compiled. An extended image with this name is replaced.
    ///
    /// # Errors
    /// As [`ImageStore::pull`]; also [`Error::Invalid`] for an invalid name or that of a shipped
    /// image, and [`Error::Install`] for the packages.
    pub fn extend<'e>(
        &'e self,
        base: &'e str,
        name: &'e str,
        packages: &'e [Requirement],
        progress: &'e dyn Progress,
    ) -> BoxFuture<'e, Result<ImageInfo>> {
        Box::pin(async move {
            extended::make(&self.objects, base, name, packages, progress).await?;
            progress.finish();
            self.info(name, Rehash::Touched)
        })
    }

    /// Loads an image; makes it first if it is not in the cache. `fuel` is the maximum number of
    /// instructions of a turn.
    pub(crate) async fn load(
        &self,
        name: &str,
        fuel: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<LoadedImage> {
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
