//! Packages for a session.
//!
//! The user's own installer resolves and fetches wheels on the host, in a step of its own that runs no code of theirs; the
//! result is an object of the cache. Its files are linked into a directory of the host that the session sees read-only, as
//! one directory for each set of packages, which can be added while the cell lives.

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

/// Where the sessions of an executor get packages from.
#[derive(Debug)]
pub(crate) struct Source {
    objects: Objects,
    /// The program of the interpreter that packages have to fit.
    program: PathBuf,
    /// What was learnt of it, once that was needed.
    interpreter: OnceCell<Interpreter>,
    /// The environment that is kept, if the caller named one.
    environment: Option<String>,
    /// Whether sessions get copies of files and not links to them: their programs run as the user
    /// and see the host's root.
    copies: bool,
}

impl Source {
    /// A source in a cache.
    ///
    /// # Errors
    /// When the cache cannot be used, and for a name that no environment can have.
    pub(crate) fn new(
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

    /// Installs packages beside what is there: in the environment that is kept, or for one session.
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
pub(crate) struct SessionPackages {
    source: Option<Arc<Source>>,
    /// The host's directory.
    directory: PathBuf,
    /// How the session sees it.
    seen_as: PathBuf,
    /// What was asked for in this session.
    requirements: Vec<Requirement>,
    /// What it has.
    set: Option<wheels::WheelSet>,
}

impl SessionPackages {
    /// Those of a session that has none yet. `source` is missing where nothing may be installed.
    pub(crate) fn new(source: Option<Arc<Source>>, directory: PathBuf, seen_as: PathBuf) -> Self {
        Self { source, directory, seen_as, requirements: Vec::new(), set: None }
    }

    /// What the environment that is kept has, made ready for the session; `None` without one, or when it is empty.
    ///
    /// # Errors
    /// Those of an installation.
    pub(crate) async fn kept(&mut self) -> Result<Option<PackageDirectories>> {
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
    /// [`Error::Install`] when there is no such package, none that works here, or no way to fetch it.
    pub(crate) async fn install(&mut self, packages: &[Requirement]) -> Result<CellInstall> {
        let Some(source) = &self.source else {
            return Err(Error::Install {
                packages: packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                why: "the session uses a virtual environment, which is not changed, or there is no cache that can be written; \
                      install them in the environment, or name a cache by CELLBLOCK_CACHE"
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
        let directory = self.seen_as.join(&set.key).display().to_string();
        self.set = Some(set);
        Ok(CellInstall { report, directory: Some(directory) })
    }
}

/// Links a set's files into a directory that all may read.
fn link(source: &Source, key: &str, into: &Path) -> Result<()> {
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
