//! What this machine allows: each level of isolation is tried with a cell that is made in full and starts nothing.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cellblock_driver::Cell;
use cellblock_exec::{Isolation, Limits, Result};
use nix::libc;
use tokio::io::AsyncReadExt;

use crate::{
    cell::{Blueprint, LocalCell, temporary},
    inside::MADE,
    launcher::{
        Launcher,
        wire::{Failure, Kind, Spec},
    },
    packages::SessionPackages,
};

/// The levels that are chosen by themselves, strongest first.
pub const LADDER: [Isolation; 2] = [Isolation::Namespaces, Isolation::Landlock];

/// How long a cell may take to be made.
const PATIENCE: Duration = Duration::from_secs(20);

/// A level of isolation, and whether it works here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The level.
    pub isolation: Isolation,
    /// Why it does not work; `None` if it does.
    pub problem: Option<String>,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

/// What was found in this process before. It does not change while a process lives.
static KNOWN: Mutex<Option<HashMap<Isolation, Rung>>> = Mutex::new(None);

/// Tries a level.
///
/// # Errors
/// [`cellblock_exec::Error::Start`] when the launcher fails; that a level does not work is no error.
pub(crate) async fn try_rung(launcher: &Arc<Launcher>, isolation: Isolation) -> Result<Rung> {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rung) = known().as_ref().and_then(|rungs| rungs.get(&isolation)) {
        return Ok(rung.clone());
    }
    let failure = make(launcher, isolation).await?;
    let rung = Rung {
        isolation,
        hint: failure.as_ref().and_then(|failure| hint(isolation, failure)),
        problem: failure.map(|failure| failure.to_string()),
    };
    known().get_or_insert_default().insert(isolation, rung.clone());
    Ok(rung)
}

/// Makes a cell and ends it. What failed, if something did.
async fn make(launcher: &Arc<Launcher>, isolation: Isolation) -> Result<Option<Failure>> {
    let number = launcher.number();
    let directory = (isolation != Isolation::Namespaces)
        .then(|| launcher.cell_name(number).map(|name| temporary().join(name)))
        .transpose()?;
    let spec = Spec {
        program: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        directory,
        disk: Some(1 << 20),
        files: Some(16),
        relays: false,
        names: Vec::new(),
        addresses: Vec::new(),
        packages: None,
    };
    let kind = Kind { isolation, visible: Vec::new(), python: None };
    let blueprint = Blueprint { kind, spec, limits: Limits::default(), memory: None, tasks: None };
    let packages = SessionPackages::new(None, PathBuf::new(), PathBuf::new());
    let (cell, mut stream) = match LocalCell::start(launcher.clone(), number, blueprint, packages)
        .await
    {
        Ok(started) => started,
        Err(cellblock_exec::Error::Start { source, .. }) => match source.downcast::<Failure>() {
            Ok(failure) => return Ok(Some(*failure)),
            Err(source) => {
                return Err(cellblock_exec::Error::Start { what: "a cell".to_owned(), source });
            }
        },
        Err(error) => return Err(error),
    };
    // It ends by itself, one way or the other.
    let mut nothing = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.reader.read_to_end(&mut nothing)).await;
    let complaints = cell.complaints();
    Box::new(cell).close().await?;
    let text = complaints.text();
    Ok((text.trim() != MADE).then(|| {
        serde_json::from_str(text.trim()).unwrap_or_else(|_| Failure {
            step: "make a cell".to_owned(),
            errno: 0,
            reason: if text.is_empty() {
                "its first process ended without a word".to_owned()
            } else {
                text
            },
        })
    }))
}

/// What a person could change.
fn hint(isolation: Isolation, failure: &Failure) -> Option<&'static str> {
    let setting =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    match (isolation, failure.errno) {
        (Isolation::Namespaces, libc::EPERM | libc::EACCES) => {
            Some(if setting("kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
                "sysctl kernel.apparmor_restrict_unprivileged_userns=0 lets ordinary users make namespaces"
            } else if setting("kernel/unprivileged_userns_clone").trim() == "0" {
                "sysctl kernel.unprivileged_userns_clone=1 lets ordinary users make namespaces"
            } else {
                "in a container, start it with --security-opt seccomp=unconfined, \
                 --security-opt systempaths=unconfined and, for root, --cap-add SYS_ADMIN"
            })
        }
        (Isolation::Namespaces, libc::ENOSPC | libc::EUSERS) => {
            Some("sysctl user.max_user_namespaces (and the like in /proc/sys/user) must not be 0")
        }
        (Isolation::Namespaces, libc::ENOSYS | libc::EINVAL) => {
            Some("Linux 5.12 or newer is needed")
        }
        (Isolation::Landlock, _) if failure.step == "restrict files" => Some(
            "Linux 5.13 or newer is needed, with landlock among the names in /sys/kernel/security/lsm",
        ),
        _ => None,
    }
}
