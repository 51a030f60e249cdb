//! From a failure to the missing packages, and their installation under the policy.

use cellblock_exec::{Error, Language, PackageName, Requirement, Result, Session};

use super::context::RunContext;
use crate::packages::{Decision, Missing, distribution, distribution_of_command, missing};

/// The packages that a failed block lacks.
pub struct MissingPackages {
    /// Modules, distributions and commands that it did not find.
    pub missing: Vec<String>,
    /// The packages that contain them, each once.
    pub packages: Vec<Requirement>,
    /// Reasons why something missing is not installed.
    pub notes: Vec<String>,
}

/// Finds the missing packages of a failed block in its standard error. A module of the workspace is
/// not installed: it is the answer's own, and a package of the same name would be somebody else's
/// code.
pub fn missing_packages(
    run: &RunContext<'_>,
    language: &Language,
    stderr: &str,
) -> MissingPackages {
    let mut wanted =
        MissingPackages { missing: Vec::new(), packages: Vec::new(), notes: Vec::new() };
    for thing in missing(language, stderr) {
        let (name, package) = match thing {
            Missing::Module(module) => {
                let root = module.split('.').next().unwrap_or_default();
                match own_module(run, root) {
                    Some(path) => {
                        wanted.notes.push(format!(
                            "the module `{module}` is not installed: {path} in the workspace has \
                                its name"
                        ));
                        (module, None)
                    }
                    None => {
                        let package = distribution(&module);
                        if package.is_none() {
                            wanted.notes.push(format!("no package provides the module `{module}`"));
                        }
                        (module, package)
                    }
                }
            }
            Missing::Distribution(name) => {
                let package = name.parse::<PackageName>().ok().map(Requirement::from);
                (name, package)
            }
            Missing::Command(command) => {
                let package = distribution_of_command(&command);
                if package.is_none() {
                    wanted.notes.push(format!(
                        "the command `{command}` was not found, and no known package provides it"
                    ));
                }
                (command, package)
            }
        };
        wanted.missing.push(name);
        wanted.packages.extend(package.filter(|package| !wanted.packages.contains(package)));
    }
    wanted
}

/// Returns a path of the workspace that has a module of this name, in any directory.
fn own_module<'a>(run: &'a RunContext<'_>, root: &str) -> Option<&'a str> {
    let is_named = |path: &&String| {
        path.split('/')
            .any(|part| part == root || part.strip_suffix(".py").is_some_and(|stem| stem == root))
    };
    run.paths.iter().find(is_named).map(String::as_str)
}

/// The outcome of an installation.
pub enum Installation {
    /// It succeeded; these packages are new, as `name==version`.
    Done(Vec<String>),
    /// The policy or a person forbids it.
    Denied(String),
    /// The executor installs nothing.
    Unsupported(String),
    /// A package does not exist, does not work here, or cannot be fetched.
    Failed(String),
    /// The run was cancelled meanwhile.
    Cancelled,
}

/// Installs packages, all or none of them, if the policy allows it.
///
/// # Errors
/// A failure of the sandbox.
pub async fn install(
    run: &mut RunContext<'_>,
    session: &mut dyn Session,
    packages: &[Requirement],
) -> Result<Installation> {
    let cancel = run.options.cancel.clone();
    let answer = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(Installation::Cancelled),
        answer = allowed(run, packages) => answer,
    };
    if let Err(why) = answer {
        return Ok(Installation::Denied(why));
    }
    run.observer.installing(packages);
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(Installation::Cancelled),
        result = session.install(packages) => result,
    };
    run.observer
        .installed(result.as_ref().map(|report| report.installed.as_slice()).unwrap_or_default());
    match result {
        Ok(report) => Ok(Installation::Done(report.installed)),
        Err(error @ Error::Install { .. }) => Ok(Installation::Failed(error.to_string())),
        Err(Error::Unsupported(what)) => Ok(Installation::Unsupported(what)),
        Err(error) => Err(error),
    }
}

/// Checks that all packages may be installed. The error says what forbids it, and what would allow
/// it.
async fn allowed(run: &mut RunContext<'_>, packages: &[Requirement]) -> Result<(), String> {
    let mut open = Vec::new();
    for package in packages {
        match run.options.install.decide(package) {
            Decision::Allow => {}
            Decision::Deny { why } => return Err(why),
            Decision::Ask => match run.answers.get(package.name.as_str()) {
                Some(true) => {}
                Some(false) => return Err(refused(package)),
                None => open.push(package.clone()),
            },
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let approved = run.observer.approve(&open).await;
    run.answers.extend(open.iter().map(|package| (package.name.as_str().to_owned(), approved)));
    if approved { Ok(()) } else { Err(refused(&open[0])) }
}

fn refused(package: &Requirement) -> String {
    format!("`{}` was not approved; approve it, or put it on the allow list", package.name)
}
