//! The user's own package installer, uv or pip: it knows the user's mirrors, proxies and
//! certificates.
//!
//! Only wheels are ever installed, so no package code runs on the host. For the same reason
//! installers are started in the root directory: the user's current directory can contain files
//! that a model wrote, and `python -m pip` would import them.

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use cellblock_cache::storage_error;
use cellblock_exec::{BoxFuture, Error, Progress, Result};
use tokio::process::Command;

use crate::{interpreter::Interpreter, process::run};

/// The platform that wheels have to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WheelTarget<'r> {
    /// Any machine: pure Python of this version, such as `3.13`. uv can choose a wheel for this
    /// machine all the same, so the caller has to check what was installed.
    PurePython(&'r str),
    /// An interpreter of this machine.
    Interpreter(&'r Interpreter),
}

/// Wheels to install.
#[derive(Clone, Copy)]
pub struct WheelRequest<'r> {
    /// The packages as an error names them.
    pub packages: &'r str,
    /// The lines of a requirements file.
    pub requirements: &'r [String],
    /// The platform that the wheels have to fit.
    pub target: WheelTarget<'r>,
    /// More arguments, which pip and uv share.
    pub arguments: &'r [&'r str],
    /// Checks the directory with the installed packages. If it returns an error, the next installer
    /// is tried.
    pub check: fn(&Path) -> Result<(), String>,
    /// Receives the progress of unpacking, if any.
    pub progress: Option<UnpackProgress<'r>>,
}

/// The progress of unpacking, measured on disk: installers do not say how much they have
/// downloaded.
#[derive(Clone, Copy)]
pub struct UnpackProgress<'r> {
    /// Receives the number of bytes unpacked.
    pub progress: &'r dyn Progress,
    /// The number of bytes that will be unpacked.
    pub total: u64,
}

/// Installs wheels with the first installer that succeeds, best first (see
/// [`Installer::find_all`]). For an interpreter, its own pip comes before other pips.
///
/// Returns a directory below `work`, with modules at its top and programs in its `bin`.
///
/// # Errors
/// [`Error::Install`] with what all installers said, or the advice to install one;
/// [`Error::Storage`] when `work` cannot be written.
pub fn install_wheels<'r>(
    work: &'r Path,
    request: WheelRequest<'r>,
) -> BoxFuture<'r, Result<PathBuf>> {
    Box::pin(async move {
        let list = work.join("requirements.txt");
        fs::write(&list, request.requirements.join("\n") + "\n")
            .map_err(|source| storage_error("write", &list, source))?;
        let mut failures = Vec::new();
        let mut pip_failed = false;
        for installer in candidates(request.target) {
            // One pip finds what another one finds.
            if installer.is_pip() && pip_failed || !installer.works().await {
                continue;
            }
            let directory = work.join(installer.name());
            fs::create_dir(&directory)
                .map_err(|source| storage_error("create", &directory, source))?;
            match install_with(&installer, &request, &list, &directory).await {
                Ok(()) => return Ok(directory),
                Err(why) => failures.push(format!("{}: {why}", installer.name())),
            }
            pip_failed |= installer.is_pip();
        }
        let why = if failures.is_empty() {
            "neither uv nor pip is installed; install one of them \
             (Debian: apt-get install python3-pip)"
                .to_owned()
        } else {
            failures.join("; ")
        };
        Err(Error::Install { packages: request.packages.to_owned(), why })
    })
}

/// Installs into an empty directory, shows the progress, and checks the result.
async fn install_with(
    installer: &Installer,
    request: &WheelRequest<'_>,
    list: &Path,
    directory: &Path,
) -> Result<(), String> {
    let install = installer.install(request, list, directory);
    match request.progress {
        None => install.await?,
        Some(unpack) => {
            tokio::select! {
                result = install => result?,
                never = watch(directory, unpack) => match never {},
            }
            unpack.progress.advance(unpack.total, unpack.total);
        }
    }
    // A lock of uv's.
    let _ = fs::remove_file(directory.join(".lock"));
    (request.check)(directory)
}

/// Moves everything in the directory `from` into the directory `into`, on the same file system.
///
/// # Errors
/// Errors of reading and renaming.
pub fn move_contents(from: &Path, into: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), into.join(entry.file_name()))?;
    }
    Ok(())
}

/// An installer that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installer {
    /// uv, by its program.
    Uv(PathBuf),
    /// A program, and the arguments that make it pip.
    Pip(PathBuf, &'static [&'static str]),
}

/// The commands that can be an installer, best first: uv is ten times faster than pip.
const CANDIDATES: [(&str, &[&str]); 5] =
    [("uv", &[]), ("python3", PIP_MODULE), ("pip3", &[]), ("pip", &[]), ("python", PIP_MODULE)];

/// The arguments that make a Python pip.
const PIP_MODULE: &[&str] = &["-m", "pip"];

impl Installer {
    /// Finds all installers that work here, best first: uv, and one pip.
    pub fn find_all() -> BoxFuture<'static, Vec<Self>> {
        Box::pin(async {
            let mut found = Vec::new();
            for (program, arguments) in CANDIDATES {
                let candidate = candidate(program, arguments);
                let is_second_pip = candidate.is_pip() && found.iter().any(Self::is_pip);
                if !is_second_pip && candidate.works().await {
                    found.push(candidate);
                }
            }
            found
        })
    }

    /// Returns `uv` or `pip`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip(..) => "pip",
        }
    }

    /// Installs the requirements in the file `list`. The error is the end of the installer's
    /// output.
    async fn install(
        &self,
        request: &WheelRequest<'_>,
        list: &Path,
        directory: &Path,
    ) -> Result<(), String> {
        let mut command = self.command();
        // `PIP_REQUIRE_VIRTUALENV` is set by users who want no package outside of a virtual
        // environment; this installs into none of theirs.
        command
            .args(self.arguments(request, list, directory)?)
            .env_remove("PIP_REQUIRE_VIRTUALENV");
        let output = run(command)
            .await
            .map_err(|error| format!("{} did not start: {error}", self.name()))?;
        if output.status.success() {
            return Ok(());
        }
        let reason = error_lines(&String::from_utf8_lossy(&output.stderr));
        Err(if reason.is_empty() {
            format!("{} ended with {}", self.name(), output.status)
        } else {
            reason
        })
    }

    fn arguments(
        &self,
        request: &WheelRequest<'_>,
        list: &Path,
        directory: &Path,
    ) -> Result<Vec<OsString>, String> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))
        };
        let mut arguments: Vec<OsString> = match self {
            Self::Uv(_) => {
                ["pip", "install", "--no-build", "--link-mode=copy"].map(OsString::from).to_vec()
            }
            Self::Pip(..) => {
                let mut arguments = self.name_interpreter(request.target);
                let install = [
                    "install",
                    "--no-input",
                    "--disable-pip-version-check",
                    "--no-compile",
                    "--no-user",
                    "--only-binary=:all:",
                ];
                arguments.extend(install.map(OsString::from));
                arguments
            }
        };
        arguments.extend(self.choose_wheels(request.target));
        arguments.extend(["--quiet".into(), "--target".into(), absolute(directory)?.into()]);
        arguments.extend(request.arguments.iter().map(OsString::from));
        arguments.extend(["-r".into(), absolute(list)?.into()]);
        Ok(arguments)
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

    /// Returns the arguments that name an interpreter which does not run this pip: otherwise wheels
    /// fit the Python that does. This needs pip 22.3 or newer.
    fn name_interpreter(&self, target: WheelTarget<'_>) -> Vec<OsString> {
        match (self, target) {
            (Self::Pip(program, _), WheelTarget::Interpreter(interpreter))
                if *program != interpreter.path =>
            {
                vec!["--python".into(), interpreter.path.clone().into()]
            }
            _ => Vec::new(),
        }
    }

    /// Returns the arguments that choose wheels.
    fn choose_wheels(&self, target: WheelTarget<'_>) -> Vec<OsString> {
        match (self, target) {
            (Self::Uv(_), WheelTarget::PurePython(version)) => {
                vec!["--python-version".into(), version.into()]
            }
            (Self::Uv(_), WheelTarget::Interpreter(interpreter)) => {
                vec!["--python".into(), interpreter.path.clone().into()]
            }
            (Self::Pip(..), WheelTarget::PurePython(version)) => {
                let any = [
                    "--platform=any",
                    "--implementation=py",
                    "--abi=none",
                    "--python-version",
                    version,
                ];
                any.map(OsString::from).to_vec()
            }
            (Self::Pip(..), WheelTarget::Interpreter(_)) => Vec::new(),
        }
    }
}

/// Returns the installers to try in turn, which need not work here.
fn candidates(target: WheelTarget<'_>) -> Vec<Installer> {
    let mut all: Vec<Installer> =
        CANDIDATES.into_iter().map(|(program, arguments)| candidate(program, arguments)).collect();
    if let WheelTarget::Interpreter(interpreter) = target {
        // After uv, before all other pips.
        all.insert(1, Installer::Pip(interpreter.path.clone(), PIP_MODULE));
    }
    all
}

fn candidate(program: &str, arguments: &'static [&'static str]) -> Installer {
    match program {
        "uv" => Installer::Uv(program.into()),
        _ => Installer::Pip(program.into(), arguments),
    }
}

/// Reports how much has been unpacked, until it is dropped.
async fn watch(directory: &Path, unpack: UnpackProgress<'_>) -> Infallible {
    loop {
        let bytes = bytes_in(directory).min(unpack.total);
        unpack.progress.advance(bytes, unpack.total);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Returns the part of an installer's output that says what is wrong: its error lines, otherwise
/// its last lines.
fn error_lines(output: &str) -> String {
    const MAX_LINES: usize = 6;
    let lines: Vec<&str> =
        output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("ERROR: ").or_else(|| line.strip_prefix("error: ")))
        .collect();
    let chosen = if errors.is_empty() { &lines } else { &errors };
    chosen[chosen.len().saturating_sub(MAX_LINES)..].join("; ")
}
