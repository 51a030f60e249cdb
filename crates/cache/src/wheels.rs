//! Packages for a Python interpreter of this machine, installed once and kept as an object of the cache.
//!
//! The object is laid out as `pip install --target` does: modules at its top, programs in `bin`. The modules are compiled to
//! bytecode, because whoever imports them cannot write beside them. Wheels only: what has to be built would run its
//! author's code on this machine, outside of any sandbox.

mod programs;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cellblock_exec::{Error, InstallReport, Progress, Requirement, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{
    installed::{Package, installed},
    installer::{Fit, Installers, Job, run},
    interpreter::Interpreter,
    objects::{Objects, object_id, storage},
};

/// Raised when the way packages are stored changes.
const FORMAT: &[u8] = b"1";

/// The file of an object that says what is in it. Links to an object's files ([`Objects::link_into`]) are made without it.
pub const SET: &str = "set.json";

/// What to install.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// The interpreter that is to import it.
    pub interpreter: &'w Interpreter,
    /// All packages, in any order.
    pub requirements: &'w [Requirement],
    /// Whether packages may be built from source. That is refused here.
    pub source_builds: bool,
}

/// Packages that were installed together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelSet {
    /// The object that holds them.
    pub key: String,
    /// The packages, with those that they need, by name.
    pub packages: Vec<Package>,
}

impl WheelSet {
    /// What is new in this set beside `before`, as `name==version`.
    pub fn report_since(&self, before: Option<&WheelSet>) -> InstallReport {
        let known = before.map(|set| set.packages.as_slice()).unwrap_or_default();
        let is_known = |package: &&Package| {
            known
                .iter()
                .any(|other| (&other.name, &other.version) == (&package.name, &package.version))
        };
        let new = self.packages.iter().filter(|package| !is_known(package));
        InstallReport {
            installed: new
                .map(|package| format!("{}=={}", package.name, package.version))
                .collect(),
        }
    }
}

/// Installs packages, unless the same were installed for the same interpreter before: then neither network nor installer is
/// needed. The files are in [`Objects::path`] of the set's key; give them to a session with [`Objects::link_into`].
///
/// # Errors
/// [`Error::Install`] when there is no such package, none that works here without being built, versions that exclude each
/// other, or no way to fetch them; also for source builds. [`Error::Invalid`] for a requirement that names something else
/// than a package of the index. [`Error::Storage`] when the cache cannot be written.
pub async fn install(
    objects: &Objects,
    wanted: Wanted<'_>,
    progress: &dyn Progress,
) -> Result<WheelSet> {
    let requirements = checked(wanted.requirements)?;
    let asked = requirements.join(" ");
    if wanted.source_builds && !requirements.is_empty() {
        let why = "building packages from source would run their code on this machine, outside of any sandbox; \
                   allow wheels only, or use the docker executor"
            .to_owned();
        return Err(Error::Install { packages: asked, why });
    }
    let interpreter = wanted.interpreter;
    let path = interpreter.path.as_os_str().as_encoded_bytes();
    let (version, platform) = (interpreter.version.as_bytes(), interpreter.platform.as_bytes());
    let key =
        object_id("wheels", &[FORMAT, path, version, platform, requirements.join("\n").as_bytes()]);
    let directory = objects
        .get_or_make_shared(&key, async |into| {
            progress.step(&format!("installing {asked}"));
            let packages = match requirements.is_empty() {
                true => Vec::new(),
                false => make(objects, into, interpreter, &requirements).await?,
            };
            let set = WheelSet { key: key.clone(), packages };
            let write = || fs::write(into.join(SET), serde_json::to_vec_pretty(&set)?);
            write().map_err(|source| storage("write", &into.join(SET), source))
        })
        .await?;
    let path = directory.join(SET);
    let text = fs::read(&path).map_err(|source| storage("read", &path, source))?;
    serde_json::from_slice(&text).map_err(|source| storage("understand", &path, source.into()))
}

/// The packages of a session or environment after it asks for more. Of a package that is there already, a new version
/// takes the place of the old one, and extras come together.
pub fn union(present: &[Requirement], new: &[Requirement]) -> Vec<Requirement> {
    let same = |list: &[Requirement], name: &str, versioned: bool| {
        list.iter().any(|other| other.name == name && (!versioned || !other.version.is_empty()))
    };
    let kept = present.iter().filter(|old| !same(new, &old.name, true));
    let added =
        new.iter().filter(|new| !new.version.is_empty() || !same(present, &new.name, false));
    let mut all: Vec<Requirement> = kept.chain(added).cloned().collect();
    for requirement in &mut all {
        let everywhere = present.iter().chain(new).filter(|other| other.name == requirement.name);
        requirement.extras = everywhere.flat_map(|other| other.extras.clone()).collect();
        requirement.extras.sort();
        requirement.extras.dedup();
    }
    all.sort();
    all.dedup();
    all
}

/// The lines of a requirements file. They are read again, because a requirement need not come from reading one.
fn checked(requirements: &[Requirement]) -> Result<Vec<String>> {
    let mut lines = requirements
        .iter()
        .map(|requirement| {
            let text = requirement.to_string();
            match text.parse::<Requirement>() {
                Ok(read) => Ok(read.to_string()),
                Err(refused) => Err(Error::Invalid { what: "package", why: refused.to_string() }),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    lines.sort();
    lines.dedup();
    Ok(lines)
}

/// Fills the directory of an object.
async fn make(
    objects: &Objects,
    into: &Path,
    interpreter: &Interpreter,
    requirements: &[String],
) -> Result<Vec<Package>> {
    let work = objects.temporary()?;
    let unpacked = fetch(work.path(), interpreter, requirements).await?;
    let arrange = || {
        // uv's.
        let _ = fs::remove_file(unpacked.join(".lock"));
        for entry in fs::read_dir(&unpacked)? {
            let entry = entry?;
            fs::rename(entry.path(), into.join(entry.file_name()))?;
        }
        programs::start_with(&into.join("bin"), &interpreter.path)?;
        installed(into)
    };
    let packages = arrange().map_err(|source| storage("write", into, source))?;
    compile(into, interpreter).await;
    Ok(packages)
}

/// Lets the installer choose, fetch and unpack; gives the directory with what it unpacked.
async fn fetch(work: &Path, interpreter: &Interpreter, requirements: &[String]) -> Result<PathBuf> {
    let list = work.join("requirements.txt");
    fs::write(&list, requirements.join("\n") + "\n")
        .map_err(|source| storage("write", &list, source))?;
    let fit = Fit::Interpreter(interpreter);
    let mut installers = Installers::new(fit);
    while let Some(installer) = installers.next().await {
        let target = work.join(installer.name());
        fs::create_dir(&target).map_err(|source| storage("create", &target, source))?;
        let job = Job { target: &target, fit, requirements: &list, arguments: &[] };
        match installer.install(&job).await {
            Ok(()) => return Ok(target),
            Err(why) => installers.failed(&installer, &why),
        }
    }
    Err(match installers.error(&requirements.join(" ")) {
        // What pip says when all versions there are would have to be built, too.
        Error::Install { packages, why } if why.contains("(from versions: none)") => {
            let why = format!(
                "{why}; only wheels are installed here, and there is none that fits this interpreter"
            );
            Error::Install { packages, why }
        }
        error => error,
    })
}

/// Compiles the modules in `directory`, which runs none of them. What does not compile is left as it is: packages carry
/// files that are no Python of this version.
async fn compile(directory: &Path, interpreter: &Interpreter) {
    /// Hundreds of megabytes of modules take a minute or two.
    const LONGEST: Duration = Duration::from_secs(600);
    let mut command = Command::new(&interpreter.path);
    // Unchecked: the files never change, and links and copies may have other times. Without the path of this directory,
    // which is not the one that programs see.
    command.args([
        "-I",
        "-S",
        "-m",
        "compileall",
        "-qq",
        "-j0",
        "--invalidation-mode=unchecked-hash",
        "-s",
    ]);
    command.args([directory, directory]);
    let _ = tokio::time::timeout(LONGEST, run(command)).await;
}
