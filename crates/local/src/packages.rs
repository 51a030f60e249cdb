//! The packages of a session.
//!
//! The user's own installer resolves and fetches wheels on the host, in a separate step that runs
//! no code of the packages. The result is an object of the cache. Its files are linked into a
//! directory of the host that the session sees read-only. Each set of packages has a directory of
//! its own there, so sets can be added while the cell lives.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use cellblock_cache::{Objects, storage_error};
use cellblock_driver::{CellInstall, PackageDirectories};
use cellblock_exec::{Error, InstallReport, Isolation, Requirement, Result, Silent};
use cellblock_packages::{Interpreter, environments, wheels};
use tokio::sync::OnceCell;

/// The source of packages for the sessions of an executor.
#[derive(Debug)]
pub struct PackageSource {
    objects: Objects,
    /// The program of the interpreter for which packages are installed.
    program: PathBuf,
    /// The properties of the interpreter, found out when they are needed first.
    interpreter: OnceCell<Interpreter>,
    /// The name of the persistent environment, if the caller named one.
    environment: Option<String>,
    /// True if sessions get copies of files instead of links to them: their programs run as the
    /// user and see the host's root, so they could change the files of the cache.
    copies: bool,
}

impl PackageSource {
    /// Returns a source that keeps packages in a cache.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cache cannot be used; [`Error::Invalid`] for a name that no
    /// environment can have.
    pub fn new(
        cache: PathBuf,
        program: PathBuf,
        environment: Option<String>,
        isolation: Isolation,
    ) -> Result<Self> {
        let objects = Objects::open(cache)?;
        if let Some(name) = &environment {
            environments::read(&objects, name)?;
        }
        let owner = !nix::unistd::Uid::effective().is_root();
        let copies = owner && isolation != Isolation::Namespaces;
        Ok(Self { objects, program, interpreter: OnceCell::new(), environment, copies })
    }

    /// Installs packages besides those of `before`, in the persistent environment or for one
    /// session.
    async fn install(
        &self,
        before: &[Requirement],
        new: &[Requirement],
    ) -> Result<wheels::WheelSet> {
        let interpreter = self
            .interpreter
            .get_or_try_init(|| Interpreter::query(&self.objects, &self.program))
            .await?;
        match &self.environment {
            Some(name) => {
                environments::install(&self.objects, name, interpreter, new, &Silent).await
            }
            None => {
                let all = wheels::union(before, new);
                wheels::install(&self.objects, interpreter, &all, &Silent).await
            }
        }
    }
}

/// The packages of one session.
#[derive(Debug)]
pub struct SessionPackages {
    source: Option<Arc<PackageSource>>,
    /// The directory on the host.
    directory: PathBuf,
    /// The same directory, as the cell sees it.
    in_cell: PathBuf,
    /// The requirements that were installed in this session.
    requirements: Vec<Requirement>,
    /// The packages that it has.
    set: Option<wheels::WheelSet>,
}

impl SessionPackages {
    /// Returns the packages of a session that has none yet. `source` is `None` where nothing can be
    /// installed.
    pub fn new(source: Option<Arc<PackageSource>>, directory: PathBuf, in_cell: PathBuf) -> Self {
        Self { source, directory, in_cell, requirements: Vec::new(), set: None }
    }

    /// Installs the packages of the persistent environment. Returns `None` if there is no such
    /// environment, or it is empty.
    ///
    /// # Errors
    /// The errors of an installation.
    pub async fn install_persistent(&mut self) -> Result<Option<PackageDirectories>> {
        if self.source.as_ref().is_none_or(|source| source.environment.is_none()) {
            return Ok(None);
        }
        let installed = self.install(&[]).await?;
        Ok(installed
            .directory
            .map(|modules| PackageDirectories { programs: format!("{modules}/bin"), modules }))
    }

    /// Installs packages.
    ///
    /// # Errors
    /// [`Error::Install`] when there is no such package, none that works here, or no way to fetch
    /// it.
    pub async fn install(&mut self, packages: &[Requirement]) -> Result<CellInstall> {
        let Some(source) = &self.source else {
            return Err(Error::Install {
                packages: packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                why:
                    "the session uses a virtual environment, which is not changed, or there is no \
                      cache that can be written; install them in the environment, or name a cache \
                      with CELLBLOCK_CACHE"
                        .to_owned(),
            });
        };
        let set = source.install(&self.requirements, packages).await?;
        let report = set.report_since(self.set.as_ref());
        self.requirements = wheels::union(&self.requirements, packages);
        let known = self.set.as_ref().is_some_and(|known| known.key == set.key);
        if known || set.packages.is_empty() {
            return Ok(CellInstall { report: InstallReport::default(), directory: None });
        }
        let (source, key, into) = (source.clone(), set.key.clone(), self.directory.join(&set.key));
        let linked = tokio::task::spawn_blocking(move || link(&source, &key, &into)).await;
        linked.map_err(|error| Error::Lost {
            what: "an installation".to_owned(),
            source: error.into(),
        })??;
        let directory = self.in_cell.join(&set.key).display().to_string();
        self.set = Some(set);
        Ok(CellInstall { report, directory: Some(directory) })
    }
}

/// Links the files of a set into a directory that everybody can read.
fn link(source: &PackageSource, key: &str, into: &Path) -> Result<()> {
    let make = || {
        if let Some(parent) = into.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::create_dir_all(into)
    };
    make().map_err(|source| storage_error("create", into, source))?;
    match source.copies {
        true => source.objects.copy_into(key, into, &[wheels::SET]),
        false => source.objects.link_into(key, into, &[wheels::SET]),
    }
}
