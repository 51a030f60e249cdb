//! The user's own package installer, `uv` or `pip`: it knows their mirrors, proxies and certificates.
//!
//! Only wheels are ever installed, so no package code runs on the host.

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use cellblock_exec::{Error, Result};
use tokio::process::Command;

/// An installer that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installer {
    Uv(PathBuf),
    /// A program and the arguments that make it pip.
    Pip(PathBuf, &'static [&'static str]),
}

/// What to install.
pub(crate) struct Job<'j> {
    /// The directory that the wheels are unpacked into.
    pub(crate) target: &'j Path,
    /// The version of Python that they have to fit.
    pub(crate) python: &'j str,
    /// A requirements file.
    pub(crate) requirements: &'j Path,
    /// More arguments, which pip and uv share.
    pub(crate) arguments: &'j [&'j str],
}

/// The ways to call an installer, best first: uv is ten times faster.
const CANDIDATES: [(&str, &[&str]); 5] =
    [("uv", &[]), ("python3", &["-m", "pip"]), ("pip3", &[]), ("pip", &[]), ("python", &["-m", "pip"])];

impl Installer {
    /// All that work here, best first.
    pub(crate) async fn find_all() -> Vec<Self> {
        let mut found = Vec::new();
        for (program, arguments) in CANDIDATES {
            let is_pip = program != "uv";
            if is_pip && found.iter().any(|installer| matches!(installer, Installer::Pip(..))) {
                continue;
            }
            let works = Command::new(program)
                .args(arguments)
                .arg("--version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .await
                .is_ok_and(|status| status.success());
            if works {
                let program = PathBuf::from(program);
                found.push(if is_pip { Installer::Pip(program, arguments) } else { Installer::Uv(program) });
            }
        }
        found
    }

    /// Installs. The error is the installer's own last words.
    pub(crate) async fn install(&self, job: &Job<'_>) -> Result<(), String> {
        let mut command = match self {
            Installer::Uv(program) => {
                let mut command = Command::new(program);
                command.args(["pip", "install", "--quiet", "--no-build", "--link-mode=copy"]);
                command
            }
            Installer::Pip(program, arguments) => {
                let mut command = Command::new(program);
                command
                    .args(*arguments)
                    .args(["install", "--quiet", "--no-input", "--disable-pip-version-check"])
                    .args([
                        "--no-compile",
                        "--only-binary=:all:",
                        "--platform=any",
                        "--implementation=py",
                        "--abi=none",
                    ]);
                command
            }
        };
        command
            .arg("--target")
            .arg(job.target)
            .args(["--python-version", job.python])
            .args(job.arguments)
            .arg("-r")
            .arg(job.requirements)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.map_err(|error| format!("{} did not start: {error}", self.name()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(last_words(&String::from_utf8_lossy(&output.stderr)))
    }

    /// What to call it in a message.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Installer::Uv(_) => "uv",
            Installer::Pip(..) => "pip",
        }
    }
}

/// The error when there is none.
pub(crate) fn none_found(packages: &str) -> Error {
    Error::Install {
        packages: packages.to_owned(),
        why: "neither uv nor pip is installed; install one of them (Debian: apt-get install python3-pip)".to_owned(),
    }
}

/// The part of an installer's output that says what is wrong: its error lines, or else its last ones.
fn last_words(output: &str) -> String {
    const MOST_LINES: usize = 6;
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix("ERROR: ").or_else(|| line.strip_prefix("error: "))).collect();
    let chosen = if errors.is_empty() { &lines } else { &errors };
    chosen[chosen.len().saturating_sub(MOST_LINES)..].join("; ")
}
