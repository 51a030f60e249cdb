//! Packages for a Python interpreter of this machine, installed once and kept as an object of the
//! cache.
//!
//! The object has the layout of `pip install --target`: modules at its top, programs in `bin`. The
//! modules are compiled to bytecode, because programs that import them cannot write beside them.

mod programs;
#[cfg(test)]
mod tests;

use std::{fs, path::Path, time::Duration};

use cellblock_cache::{Objects, object_id, read_json, storage_error};
use cellblock_exec::{BoxFuture, Error, InstallReport, Progress, Requirement, Result};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::{
    installed::{InstalledPackage, installed_packages},
    installer::{WheelRequest, WheelTarget, install_wheels, move_contents},
    interpreter::Interpreter,
    process::run,
};

/// Changed when the way packages are stored changes.
const FORMAT: &[u8] = b"1";

/// The file of an object that lists its packages. Sessions get links to an object's files
/// ([`Objects::link_into`]) without it.
pub const SET: &str = "set.json";

/// Packages that were installed together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WheelSet {
    /// The object that holds them.
    pub key: String,
    /// The packages with their dependencies, by name.
    pub packages: Vec<InstalledPackage>,
}

impl WheelSet {
    /// Reports the packages that are new in this set since `before`, as `name==version`.
    pub fn report_since(&self, before: Option<&WheelSet>) -> InstallReport {
        let known = before.map(|set| set.packages.as_slice()).unwrap_or_default();
        let is_known = |package: &&InstalledPackage| {
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

/// Installs packages for an interpreter, or returns those that were installed for it before; that
/// needs neither network nor installer.
///
/// The files are in [`Objects::path`] of the set's key. Give them to a session with
/// [`Objects::link_into`].
///
/// # Errors
/// - [`Error::Install`] when a package does not exist, has no wheel that works here, conflicts with
///   another one, or cannot be fetched.
/// - [`Error::Invalid`] for a requirement that does not name a package of the index.
/// - [`Error::Storage`] when the cache cannot be written.
pub fn install<'i>(
    objects: &'i Objects,
    interpreter: &'i Interpreter,
    requirements: &'i [Requirement],
    progress: &'i dyn Progress,
) -> BoxFuture<'i, Result<WheelSet>> {
    Box::pin(async move {
        let requirements = requirement_lines(requirements)?;
        let path = interpreter.path.as_os_str().as_encoded_bytes();
        let (version, platform) = (interpreter.version.as_bytes(), interpreter.platform.as_bytes());
        let lines = requirements.join("\n");
        let key = object_id("wheels", &[FORMAT, path, version, platform, lines.as_bytes()]);
        let make = async |into: &Path| {
            progress.step(&format!("installing {}", requirements.join(" ")));
            let packages = match requirements.is_empty() {
                true => Vec::new(),
                false => fill(objects, into, interpreter, &requirements).await?,
            };
            let set = WheelSet { key: key.clone(), packages };
            let write = || fs::write(into.join(SET), serde_json::to_vec_pretty(&set)?);
            write().map_err(|source| storage_error("write", &into.join(SET), source))
        };
        let directory = objects.get_or_make_shared(&key, make).await?;
        read_json(&directory.join(SET))
    })
}

/// Returns the packages of a session or environment after `new` have been added to `present`. A new
/// version of a package replaces the old one; its extras are combined.
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

/// Returns the sorted lines of a requirements file. Each requirement is parsed again: its fields
/// are public, so it need not come from a parser, and an installer reads options and URLs in this
/// file.
fn requirement_lines(requirements: &[Requirement]) -> Result<Vec<String>> {
    let mut lines = requirements
        .iter()
        .map(|requirement| match requirement.to_string().parse::<Requirement>() {
            Ok(parsed) => Ok(parsed.to_string()),
            Err(refused) => Err(Error::Invalid { what: "package", why: refused.to_string() }),
        })
        .collect::<Result<Vec<_>>>()?;
    lines.sort();
    lines.dedup();
    Ok(lines)
}

/// Fills the directory of an object.
async fn fill(
    objects: &Objects,
    into: &Path,
    interpreter: &Interpreter,
    requirements: &[String],
) -> Result<Vec<InstalledPackage>> {
    let work = objects.temporary()?;
    let request = WheelRequest {
        packages: &requirements.join(" "),
        requirements,
        target: WheelTarget::Interpreter(interpreter),
        arguments: &[],
        check: |_| Ok(()),
        progress: None,
    };
    let unpacked = install_wheels(work.path(), request).await.map_err(explain_missing_wheels)?;
    let arrange = || {
        move_contents(&unpacked, into)?;
        programs::start_with(&into.join("bin"), &interpreter.path)?;
        installed_packages(into)
    };
    let packages = arrange().map_err(|source| storage_error("write", into, source))?;
    compile(into, interpreter).await;
    Ok(packages)
}

/// Adds the reason to pip's error for a package whose versions would all have to be built.
fn explain_missing_wheels(error: Error) -> Error {
    match error {
        Error::Install { packages, why } if why.contains("(from versions: none)") => {
            let why = format!(
                "{why}; only wheels are installed here, and there is none that fits this \
                 interpreter"
            );
            Error::Install { packages, why }
        }
        error => error,
    }
}

/// Compiles the modules in `directory`, which runs none of them. Modules that do not compile are
/// skipped: packages contain files that are not Python of this version.
async fn compile(directory: &Path, interpreter: &Interpreter) {
    /// Hundreds of megabytes of modules take a minute or two.
    const MAX_TIME: Duration = Duration::from_secs(600);
    let mut command = Command::new(&interpreter.path);
    command.args(["-I", "-S", "-m", "compileall", "-qq", "-j0"]);
    // Never compared with the source: the files never change, and links and copies can have other
    // times.
    command.arg("--invalidation-mode=unchecked-hash");
    // Without the path of this directory, which is not the one that programs see.
    command.arg("-s").args([directory, directory]);
    let _ = tokio::time::timeout(MAX_TIME, run(command)).await;
}
