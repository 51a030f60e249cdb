//! The user's own package installer, `uv` or `pip`: it knows their mirrors, proxies and certificates.
//!
//! Only wheels are ever installed, so no package code runs on the host. For the same reason installers are started in the
//! root directory: in the user's own there may be files that a model wrote, and `python -m pip` would import them.

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use cellblock_exec::Error;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::Command;

use crate::interpreter::Interpreter;

/// An installer that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installer {
    /// uv, by its program.
    Uv(PathBuf),
    /// A program, and the arguments that make it pip.
    Pip(PathBuf, &'static [&'static str]),
}

/// What wheels have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit<'j> {
    /// Any machine: pure Python of this version, such as `3.13`. uv may choose a wheel for this machine all the same; whoever
    /// asks has to look.
    Pure(&'j str),
    /// An interpreter of this machine.
    Interpreter(&'j Interpreter),
}

/// What to install.
#[derive(Debug, Clone, Copy)]
pub struct Job<'j> {
    /// The directory that the wheels are unpacked into: modules at its top, programs in its `bin`.
    pub target: &'j Path,
    /// What the wheels have to fit.
    pub fit: Fit<'j>,
    /// A requirements file.
    pub requirements: &'j Path,
    /// More arguments, which pip and uv share.
    pub arguments: &'j [&'j str],
}

/// The ways to call an installer, best first: uv is ten times faster.
const CANDIDATES: [(&str, &[&str]); 5] =
    [("uv", &[]), ("python3", PIP_MODULE), ("pip3", &[]), ("pip", &[]), ("python", PIP_MODULE)];

/// What makes a Python pip.
const PIP_MODULE: &[&str] = &["-m", "pip"];

impl Installer {
    /// All that work here, best first: uv, and one pip.
    pub async fn find_all() -> Vec<Self> {
        let mut found = Vec::new();
        for candidate in candidates(None) {
            if !(candidate.is_pip() && found.iter().any(Self::is_pip)) && candidate.works().await {
                found.push(candidate);
            }
        }
        found
    }

    /// Installs.
    ///
    /// # Errors
    /// The installer's own last words.
    pub async fn install(&self, job: &Job<'_>) -> Result<(), String> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut arguments: Vec<OsString> = match self {
            Self::Uv(_) => {
                vec!["pip".into(), "install".into(), "--no-build".into(), "--link-mode=copy".into()]
            }
            Self::Pip(..) => {
                let mut arguments = self.other_interpreter(job.fit);
                let install = [
                    "install",
                    "--no-input",
                    "--disable-pip-version-check",
                    "--no-compile",
                    "--no-user",
                ];
                arguments.extend(install.map(OsString::from));
                arguments.push("--only-binary=:all:".into());
                arguments
            }
        };
        arguments.extend(self.fit(job.fit));
        arguments.extend(["--quiet".into(), "--target".into(), absolute(job.target)?.into()]);
        arguments.extend(job.arguments.iter().map(OsString::from));
        arguments.extend(["-r".into(), absolute(job.requirements)?.into()]);
        let mut command = self.command();
        // Set by people who want no package outside of a virtual environment; this goes into none of theirs.
        command.args(arguments).env_remove("PIP_REQUIRE_VIRTUALENV");
        let output = run(command)
            .await
            .map_err(|error| format!("{} did not start: {error}", self.name()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = last_words(&String::from_utf8_lossy(&output.stderr));
        Err(if said.is_empty() {
            format!("{} ended with {}", self.name(), output.status)
        } else {
            said
        })
    }

    /// What to call it in a message.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip(..) => "pip",
        }
    }

    fn is_pip(&self) -> bool {
        matches!(self, Self::Pip(..))
    }

    fn command(&self) -> Command {
        match self {
            Self::Uv(program) => Command::new(program),
            Self::Pip(program, arguments) => {
                let mut command = Command::new(program);
                command.args(*arguments);
                command
            }
        }
    }

    async fn works(&self) -> bool {
        let mut command = self.command();
        command.arg("--version");
        run(command).await.is_ok_and(|output| output.status.success())
    }

    /// pip's wheels fit the Python that runs it, so another one has to be named. This takes pip 22.3 or later.
    fn other_interpreter(&self, fit: Fit<'_>) -> Vec<OsString> {
        match (self, fit) {
            (Self::Pip(program, _), Fit::Interpreter(interpreter))
                if *program != interpreter.path =>
            {
                vec!["--python".into(), interpreter.path.clone().into()]
            }
            _ => Vec::new(),
        }
    }

    /// The arguments that choose wheels.
    fn fit(&self, fit: Fit<'_>) -> Vec<OsString> {
        match (self, fit) {
            (Self::Uv(_), Fit::Pure(version)) => vec!["--python-version".into(), version.into()],
            (Self::Uv(_), Fit::Interpreter(interpreter)) => {
                vec!["--python".into(), interpreter.path.clone().into()]
            }
            (Self::Pip(..), Fit::Pure(version)) => {
                let any = [
                    "--platform=any",
                    "--implementation=py",
                    "--abi=none",
                    "--python-version",
                    version,
                ];
                any.map(OsString::from).to_vec()
            }
            (Self::Pip(..), Fit::Interpreter(_)) => Vec::new(),
        }
    }
}

/// The installers that work here, to be tried in turn.
///
/// ```
/// # use cellblock_cache::{Installers, Job};
/// # async fn example(job: Job<'_>) -> cellblock_exec::Result<()> {
/// let mut installers = Installers::new(job.fit);
/// while let Some(installer) = installers.next().await {
///     match installer.install(&job).await {
///         Ok(()) => return Ok(()),
///         Err(why) => installers.failed(&installer, &why),
///     }
/// }
/// Err(installers.error("humanize"))
/// # }
/// ```
#[derive(Debug)]
pub struct Installers {
    candidates: std::vec::IntoIter<Installer>,
    said: Vec<String>,
    pip_failed: bool,
}

impl Installers {
    /// All, best first. For an interpreter, its own pip comes before others.
    pub fn new(fit: Fit<'_>) -> Self {
        let interpreter = match fit {
            Fit::Interpreter(interpreter) => Some(interpreter),
            Fit::Pure(_) => None,
        };
        Self { candidates: candidates(interpreter), said: Vec::new(), pip_failed: false }
    }

    /// The next one that works.
    pub async fn next(&mut self) -> Option<Installer> {
        for candidate in self.candidates.by_ref() {
            // One pip finds what another one finds.
            if !(candidate.is_pip() && self.pip_failed) && candidate.works().await {
                return Some(candidate);
            }
        }
        None
    }

    /// Notes that an attempt failed, and why.
    pub fn failed(&mut self, installer: &Installer, why: &str) {
        self.pip_failed |= installer.is_pip();
        self.said.push(format!("{}: {why}", installer.name()));
    }

    /// The error after all have failed: what they said, or the advice to install one. `packages` is what was to be
    /// installed.
    pub fn error(self, packages: &str) -> Error {
        let why = match self.said[..] {
            [] => {
                "neither uv nor pip is installed; install one of them (Debian: apt-get install python3-pip)".to_owned()
            }
            _ => self.said.join("; "),
        };
        Error::Install { packages: packages.to_owned(), why }
    }
}

/// The ways to call an installer, whether or not they work here.
fn candidates(interpreter: Option<&Interpreter>) -> std::vec::IntoIter<Installer> {
    let own = interpreter.map(|interpreter| Installer::Pip(interpreter.path.clone(), PIP_MODULE));
    let mut all: Vec<Installer> = CANDIDATES
        .into_iter()
        .map(|(program, arguments)| match program {
            "uv" => Installer::Uv(program.into()),
            _ => Installer::Pip(program.into(), arguments),
        })
        .collect();
    all.splice(1..1, own);
    all.into_iter()
}

/// Runs a program to its end. If this is dropped before, the program is killed with all that it started.
pub(crate) async fn run(mut command: Command) -> std::io::Result<Output> {
    /// Kills a process group.
    struct Group(Option<Pid>);
    impl Drop for Group {
        fn drop(&mut self) {
            if let Some(group) = self.0 {
                let _ = killpg(group, Signal::SIGKILL);
            }
        }
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn()?;
    // The group has the number of its first process, which nobody else gets before it has been waited for.
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(group);
    let output = child.wait_with_output().await;
    group.0 = None;
    output
}

/// The part of an installer's output that says what is wrong: its error lines, or else its last ones.
fn last_words(output: &str) -> String {
    const MOST_LINES: usize = 6;
    let lines: Vec<&str> =
        output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("ERROR: ").or_else(|| line.strip_prefix("error: ")))
        .collect();
    let chosen = if errors.is_empty() { &lines } else { &errors };
    chosen[chosen.len().saturating_sub(MOST_LINES)..].join("; ")
}
