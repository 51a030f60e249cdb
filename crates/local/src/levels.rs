//! The levels of isolation that work on this machine. A level is tested by making a whole cell that
//! starts nothing.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use cellblock_driver::Cell;
use cellblock_exec::{Error, Isolation, Result};
use nix::errno::Errno;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;

use crate::{
    blueprint::Blueprint,
    cell::{LocalCell, temporary_directory},
    failure::Failure,
    inside::{CELL_WORKS, RESTRICT},
    launcher::client::Launcher,
    packages::SessionPackages,
};

/// The levels that can be chosen by default, strongest first.
pub const DEFAULT_LEVELS: [Isolation; 2] = [Isolation::Namespaces, Isolation::Landlock];

/// The maximum time for making a cell.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The result of testing a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelTest {
    /// The reason why the level does not work; `None` if it does.
    pub problem: Option<String>,
    /// A change to the machine that would help.
    pub hint: Option<&'static str>,
}

/// The results of earlier tests, which do not change while a process lives.
static TESTED: Mutex<Option<HashMap<Isolation, LevelTest>>> = Mutex::new(None);

/// Returns the level to use: the one that is wanted, else the strongest that works.
///
/// # Errors
/// [`Error::Unsupported`] when no level works, or the one that is wanted does not.
pub async fn choose(launcher: &Arc<Launcher>, wanted: Option<Isolation>) -> Result<Isolation> {
    let candidates = match wanted {
        None => DEFAULT_LEVELS.to_vec(),
        Some(level @ (Isolation::Namespaces | Isolation::Landlock | Isolation::None)) => {
            vec![level]
        }
        Some(other) => {
            return Err(Error::Unsupported(format!(
                "the local executor has no isolation called `{other}`"
            )));
        }
    };
    let mut problems = Vec::new();
    for isolation in candidates {
        let LevelTest { problem, hint } = test(launcher, isolation).await?;
        let Some(problem) = problem else { return Ok(isolation) };
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        problems.push(format!("{isolation}: {problem}{hint}"));
    }
    let advice = if wanted.is_none() { "; isolation `none` runs programs without any" } else { "" };
    Err(Error::Unsupported(format!(
        "no isolation for programs works here ({}){advice}",
        problems.join("; ")
    )))
}

/// Tests a level.
///
/// # Errors
/// [`Error::Start`] when the launcher fails. It is no error if the level does not work.
pub async fn test(launcher: &Arc<Launcher>, isolation: Isolation) -> Result<LevelTest> {
    if let Some(test) = TESTED.lock().as_ref().and_then(|tests| tests.get(&isolation)) {
        return Ok(test.clone());
    }
    let failure = try_cell(launcher, isolation).await?;
    let test = LevelTest {
        hint: failure.as_ref().and_then(|failure| hint(isolation, failure)),
        problem: failure.map(|failure| failure.to_string()),
    };
    TESTED.lock().get_or_insert_default().insert(isolation, test.clone());
    Ok(test)
}

/// Makes a cell and ends it. Returns the step that failed, if one did.
async fn try_cell(launcher: &Arc<Launcher>, isolation: Isolation) -> Result<Option<Failure>> {
    let number = launcher.next_cell();
    let directory = (isolation != Isolation::Namespaces)
        .then(|| launcher.cell_name(number).map(|name| temporary_directory().join(name)))
        .transpose()?;
    let blueprint = Blueprint::for_test(isolation, directory);
    let packages = SessionPackages::new(None, PathBuf::new(), PathBuf::new());
    let started = LocalCell::start(launcher.clone(), number, blueprint, packages).await;
    let (cell, mut stream) = match started {
        Ok(started) => started,
        Err(Error::Start { what, source }) => match source.downcast::<Failure>() {
            Ok(failure) => return Ok(Some(*failure)),
            Err(source) => return Err(Error::Start { what, source }),
        },
        Err(error) => return Err(error),
    };
    // The first process ends by itself, whether it succeeds or fails.
    let mut nothing = Vec::new();
    let _ = tokio::time::timeout(TEST_TIMEOUT, stream.reader.read_to_end(&mut nothing)).await;
    let stderr = cell.stderr();
    Box::new(cell).close().await?;
    let text = stderr.text();
    Ok(match text.trim() {
        CELL_WORKS => None,
        "" => Some(Failure::new("make a cell", "its first process ended without a message")),
        report => Some(
            serde_json::from_str(report).unwrap_or_else(|_| Failure::new("make a cell", &text)),
        ),
    })
}

/// Returns a change to the machine that a person could make.
fn hint(isolation: Isolation, failure: &Failure) -> Option<&'static str> {
    let is_set = |name: &str, value: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
        text.trim() == value
    };
    match (isolation, Errno::from_raw(failure.errno)) {
        (Isolation::Namespaces, Errno::EPERM | Errno::EACCES) => {
            Some(if is_set("kernel/apparmor_restrict_unprivileged_userns", "1") {
                "sysctl kernel.apparmor_restrict_unprivileged_userns=0 lets ordinary users make \
                 namespaces"
            } else if is_set("kernel/unprivileged_userns_clone", "0") {
                "sysctl kernel.unprivileged_userns_clone=1 lets ordinary users make namespaces"
            } else {
                "in a container, start it with --security-opt seccomp=unconfined, \
                 --security-opt systempaths=unconfined and, for root, --cap-add SYS_ADMIN"
            })
        }
        (Isolation::Namespaces, Errno::ENOSPC | Errno::EUSERS) => {
            Some("sysctl user.max_user_namespaces (and the like in /proc/sys/user) must not be 0")
        }
        (Isolation::Namespaces, Errno::ENOSYS | Errno::EINVAL) => {
            Some("Linux 5.12 or newer is needed")
        }
        (Isolation::Landlock, _) if failure.step == RESTRICT => Some(
            "Linux 5.13 or newer is needed, with landlock among the names in \
             /sys/kernel/security/lsm",
        ),
        _ => None,
    }
}
