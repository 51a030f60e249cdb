//! Landlock: which files a cell may touch.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::plan::{DEVICES, SETTINGS};
use crate::launcher::wire::Failure;

/// The newest version whose rights we name; an older kernel keeps what it knows.
const NEWEST: ABI = ABI::V6;

/// The first version that keeps signals and unnamed unix sockets inside.
pub(crate) const SCOPES: u32 = 6;

/// In a cell with a root of its own: files are read-only by their mounts already; this holds if a mount should be found
/// writable after all.
pub(crate) fn restrict_root() -> Result<(), Failure> {
    let rules = || {
        let rules = ruleset(false)?;
        let rules = allow(rules, Path::new("/"), AccessFs::from_read(NEWEST))?;
        // Devices, and what a process may set of itself.
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

/// In a cell that shares the host's root: the system's programs and what is `visible` can be read,
/// and only the directories `own` be written.
pub(crate) fn restrict_host(visible: &[PathBuf], own: &[PathBuf]) -> Result<(), Failure> {
    let rules = || {
        let mut rules = ruleset(true)?;
        let system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
        let readable = system.iter().chain(SETTINGS).map(Path::new);
        for path in readable.chain(visible.iter().map(PathBuf::as_path)) {
            rules = allow(rules, path, AccessFs::from_read(NEWEST))?;
        }
        for device in DEVICES {
            let writing = AccessFs::WriteFile | AccessFs::Truncate;
            let access = AccessFs::from_read(NEWEST) | writing_of(device, writing);
            rules = allow(rules, &Path::new("/dev").join(device), access)?;
        }
        // Devices and sockets cannot be made: nothing outside could be reached by a name inside.
        let special = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock;
        for path in own {
            rules = allow(rules, path, AccessFs::from_all(NEWEST) & !special)?;
        }
        rules.restrict_self()
    };
    match rules().map_err(|error| failure(&error))?.ruleset {
        RulesetStatus::NotEnforced => Err(Failure {
            step: "restrict files".to_owned(),
            errno: nix::errno::Errno::ENOSYS as i32,
            reason: "the kernel has no Landlock, or it is turned off".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What programs may do with a device besides reading. `/dev/zero` that is open for writing can be
/// mapped as shared memory, which is counted nowhere but in a control group.
fn writing_of(device: &str, writing: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if device == "zero" { BitFlags::empty() } else { writing }
}

fn ruleset(network: bool) -> Result<RulesetCreated, RulesetError> {
    let rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    let rules = if network { rules.handle_access(AccessNet::from_all(NEWEST))? } else { rules };
    rules.scope(Scope::from_all(NEWEST))?.create()
}

/// Allows `access` beneath a path; what the host does not have, or keeps from this user, needs no rule.
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
    Failure { step: "restrict files".to_owned(), errno: 0, reason: error.to_string() }
}
