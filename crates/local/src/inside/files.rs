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
        let writing = AccessFs::from_read(NEWEST)
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::IoctlDev;
        let rules = allow(rules, Path::new("/dev"), writing)?;
        let rules = allow(rules, Path::new("/proc"), writing)?;
        let mut rules = rules;
        for path in ["/workspace", "/tmp", "/dev/shm"] {
            rules = allow(rules, Path::new(path), AccessFs::from_all(NEWEST))?;
        }
        rules.restrict_self()
    };
    rules().map(drop).map_err(|error| failure(&error))
}

/// In a cell that shares the host's root: only the system's programs, what is `visible`, and its own `directory`.
pub(crate) fn restrict_host(visible: &[PathBuf], directory: &Path) -> Result<(), Failure> {
    let rules = || {
        let mut rules = ruleset(true)?;
        let system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
        let readable = system
            .iter()
            .chain(SETTINGS)
            .map(Path::new)
            .chain(visible.iter().map(PathBuf::as_path));
        for path in readable {
            rules = allow(rules, path, AccessFs::from_read(NEWEST))?;
        }
        for device in DEVICES {
            let access = AccessFs::from_read(NEWEST) | AccessFs::WriteFile | AccessFs::Truncate;
            rules = allow(rules, &Path::new("/dev").join(device), access)?;
        }
        // Devices, sockets and pipes cannot be made: nothing outside could be reached by a name inside, and files are all
        // that is counted.
        let special = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock;
        rules = allow(rules, directory, AccessFs::from_all(NEWEST) & !special)?;
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
