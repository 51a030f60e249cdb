//! Landlock: the files that a cell can touch.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use nix::errno::Errno;

use super::plan::{DEVICES, SETTINGS, SYSTEM};
use crate::failure::Failure;

/// The newest version whose rights are named here. An older kernel enforces those that it knows.
const NEWEST: ABI = ABI::V6;

/// The first version that confines signals and abstract unix sockets.
pub const MIN_SCOPES: u32 = 6;

/// The step that fails where the kernel has no Landlock.
pub const RESTRICT: &str = "restrict files";

/// Restricts a cell with a root of its own. Its mounts are read-only already; this holds if a mount
/// turns out to be writable after all.
pub fn restrict_root() -> Result<(), Failure> {
    let rules = || {
        let rules = ruleset(false)?;
        let rules = allow(rules, Path::new("/"), AccessFs::from_read(NEWEST))?;
        // Devices, and the settings that a process has of itself.
        let writing = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
        let mut rules = allow(rules, Path::new("/proc"), AccessFs::from_read(NEWEST) | writing)?;
        for device in DEVICES {
            let access = AccessFs::from_read(NEWEST) | writing_of(device, writing);
            rules = allow(rules, &Path::new("/dev").join(device), access)?;
        }
        for path in ["/workspace", "/tmp", "/dev/shm"] {
            rules = allow(rules, Path::new(path), AccessFs::from_all(NEWEST))?;
        }
        rules.restrict_self()
    };
    rules().map(drop).map_err(|error| failure(&error))
}

/// Restricts a cell that shares the host's root: it can read the system's programs and the
/// directories `visible`, and write only the directories `own`.
pub fn restrict_host(visible: &[PathBuf], own: &[PathBuf]) -> Result<(), Failure> {
    let rules = || {
        let mut rules = ruleset(true)?;
        let readable = SYSTEM.iter().chain(SETTINGS).map(Path::new);
        for path in readable.chain(visible.iter().map(PathBuf::as_path)) {
            rules = allow(rules, path, AccessFs::from_read(NEWEST))?;
        }
        for device in DEVICES {
            let writing = AccessFs::WriteFile | AccessFs::Truncate;
            let access = AccessFs::from_read(NEWEST) | writing_of(device, writing);
            rules = allow(rules, &Path::new("/dev").join(device), access)?;
        }
        // Devices and sockets cannot be made: otherwise a name inside could reach something
        // outside.
        let special = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock;
        for path in own {
            rules = allow(rules, path, AccessFs::from_all(NEWEST) & !special)?;
        }
        rules.restrict_self()
    };
    match rules().map_err(|error| failure(&error))?.ruleset {
        RulesetStatus::NotEnforced => Err(Failure {
            step: RESTRICT.to_owned(),
            errno: Errno::ENOSYS as i32,
            reason: "the kernel has no Landlock, or it is turned off".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Returns the rights to a device besides reading. `/dev/zero` that is open for writing can be
/// mapped as shared memory, which only a control group counts.
fn writing_of(device: &str, writing: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if device == "zero" { BitFlags::empty() } else { writing }
}

fn ruleset(network: bool) -> Result<RulesetCreated, RulesetError> {
    let rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    let rules = if network { rules.handle_access(AccessNet::from_all(NEWEST))? } else { rules };
    rules.scope(Scope::from_all(NEWEST))?.create()
}

/// Allows `access` beneath a path. A path that the host does not have, or that this user cannot
/// open, needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
    rules.add_rule(PathBeneath::new(opened, access))
}

fn failure(error: &RulesetError) -> Failure {
    Failure::new(RESTRICT, error)
}
