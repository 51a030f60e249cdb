//! First processes, made before a session needs them: most of the time to open a session goes into
//! making one.

use std::{
    cell::OnceCell,
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    time::{Duration, Instant},
};

use cellblock_driver::calls::CellTraits;
use cellblock_exec::Isolation;
use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
    },
    unistd::{Gid, Pid, Uid},
};
use seccompiler::BpfProgram;

use crate::{
    failure::{Failure, StepContext},
    groups::{self, Controller},
    inside::{self, FirstProcess, MIN_SCOPES, RootPlan},
    protocol::{CellKind, HostFacts},
    sys,
};

/// The maximum age of a spare process: it shows the host as it was when the process was made.
const MAX_AGE: Duration = Duration::from_secs(300);

/// A first process that waits for its session.
pub struct SpareProcess {
    pub pid: Pid,
    /// The socket on which it waits for the session.
    pub socket: OwnedFd,
    /// The name of its control groups.
    pub group: Option<String>,
    kind: CellKind,
    made: Instant,
}

/// The spare process of a launcher, and everything needed to make another.
pub struct Spares {
    facts: HostFacts,
    /// A descriptor that is readable once the launcher has ended.
    launcher: OwnedFd,
    user: (Uid, Gid),
    /// True if parts of the system belong to the user; found out once.
    owns_system: OnceCell<bool>,
    kinds: Vec<PreparedKind>,
    spare: Option<SpareProcess>,
    next_group: u64,
    /// Groups of processes that were not needed.
    unused_groups: Vec<String>,
}

/// The parts that all cells of a kind share.
struct PreparedKind {
    kind: CellKind,
    plan: RootPlan,
    /// The filters for sessions without relays, and for sessions with them.
    filters: [Vec<BpfProgram>; 2],
}

impl Spares {
    pub fn new(facts: HostFacts, launcher: OwnedFd) -> Self {
        Self {
            facts,
            launcher,
            user: (Uid::effective(), Gid::effective()),
            owns_system: OnceCell::new(),
            kinds: Vec::new(),
            spare: None,
            next_group: 0,
            unused_groups: Vec::new(),
        }
    }

    /// Makes a spare process of this kind, unless there is one.
    pub fn prepare(&mut self, kind: CellKind) {
        if !self.spare.as_ref().is_some_and(|spare| spare.fits(&kind)) {
            self.discard();
            self.spare = self.make(kind).ok();
        }
    }

    /// Returns the spare process if it is of this kind, else a new one.
    pub fn take(&mut self, kind: &CellKind) -> Result<SpareProcess, Failure> {
        match self.spare.take() {
            Some(spare) if spare.fits(kind) => Ok(spare),
            other => {
                self.spare = other;
                self.discard();
                self.make(kind.clone())
            }
        }
    }

    /// Kills the spare process.
    pub fn discard(&mut self) {
        if let Some(spare) = self.spare.take() {
            let _ = kill(spare.pid, Signal::SIGKILL);
            self.unused_groups.extend(spare.group);
        }
    }

    /// True if this is the spare process.
    pub fn has(&self, pid: Pid) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.pid == pid)
    }

    /// Forgets the spare process if it is this one, which has ended.
    pub fn forget(&mut self, pid: Pid) {
        if self.has(pid) {
            self.unused_groups.extend(self.spare.take().and_then(|spare| spare.group));
        }
    }

    /// Removes the groups of processes that were not needed, as far as their processes have ended.
    pub fn remove_unused_groups(&mut self) {
        self.unused_groups.retain(|group| !groups::remove(&self.facts.groups, group));
    }

    /// True if groups of processes that were not needed remain.
    pub fn has_unused_groups(&self) -> bool {
        !self.unused_groups.is_empty()
    }

    fn make(&mut self, kind: CellKind) -> Result<SpareProcess, Failure> {
        let at = self.prepared(&kind)?;
        let group = (!self.facts.groups.is_empty()).then(|| {
            self.next_group += 1;
            format!("{}-{}", self.facts.name, self.next_group)
        });
        if let Some(group) = &group {
            groups::make(&self.facts.groups, group).step(|| "make a control group".to_owned())?;
        }
        match self.fork(&self.kinds[at], group.as_deref()) {
            Ok((pid, socket)) => {
                Ok(SpareProcess { pid, socket, group, kind, made: Instant::now() })
            }
            Err(failure) => {
                self.unused_groups.extend(group);
                Err(failure)
            }
        }
    }

    fn fork(
        &self,
        prepared: &PreparedKind,
        group: Option<&str>,
    ) -> Result<(Pid, OwnedFd), Failure> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .step(|| "make a socket".to_owned())?;
        let namespaces = inside::namespaces(prepared.kind.isolation, self.user.0);
        let pid = sys::fork(namespaces, || {
            let first = FirstProcess {
                kind: &prepared.kind,
                plan: &prepared.plan,
                hierarchies: &self.facts.groups,
                group,
                user: self.user,
                launcher: self.launcher.as_fd(),
                filters: &prepared.filters,
            };
            match inside::close_others(&[theirs.as_fd(), self.launcher.as_fd()]) {
                Ok(()) => inside::run(&first, theirs.as_fd()),
                Err(_) => 1,
            }
        });
        Ok((pid.step(|| "make a process in new namespaces".to_owned())?, ours))
    }

    /// Returns the index of the parts that all cells of this kind share.
    fn prepared(&mut self, kind: &CellKind) -> Result<usize, Failure> {
        if let Some(at) = self.kinds.iter().position(|prepared| prepared.kind == *kind) {
            return Ok(at);
        }
        let filters = |hosts| {
            inside::filters(&CellTraits {
                hosts,
                counted_memory: groups::counts(&self.facts.groups, Controller::Memory),
                shared_root: kind.isolation != Isolation::Namespaces,
                // If we are root, programs become another user, who owns nothing.
                owner: !self.user.0.is_root(),
                readable: !kind.visible.is_empty()
                    || kind.isolation == Isolation::Landlock && self.owns_system(),
                scoped_signals: self.facts.landlock >= MIN_SCOPES,
            })
        };
        let filters = [filters(false)?, filters(true)?];
        self.kinds.push(PreparedKind {
            kind: kind.clone(),
            plan: inside::plan(&kind.visible, kind.python.as_deref()),
            filters,
        });
        Ok(self.kinds.len() - 1)
    }

    fn owns_system(&self) -> bool {
        *self.owns_system.get_or_init(|| owns_below(Path::new("/usr"), self.user.0, MAX_DEPTH))
    }
}

impl SpareProcess {
    fn fits(&self, kind: &CellKind) -> bool {
        self.kind == *kind && self.made.elapsed() < MAX_AGE
    }
}

/// The maximum depth below `/usr` at which an owner is looked for.
/// `/usr/local/lib/python3/site-packages` is at 4.
const MAX_DEPTH: usize = 4;

/// True if the user owns this directory or one below it, such as a `/usr/local` that was given to
/// the user for an installer. Single files in directories of others are not checked.
fn owns_below(directory: &Path, user: Uid, depth: usize) -> bool {
    let own = fs::symlink_metadata(directory).is_ok_and(|found| found.uid() == user.as_raw());
    if own || depth == 0 {
        return own;
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    inner.any(|entry| owns_below(&entry.path(), user, depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_directory_is_found_below_those_of_others() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("a/b")).unwrap();
        let (own, other) = (Uid::effective(), Uid::from_raw(4_000_000));
        assert!(owns_below(top.path(), own, 0));
        assert!(!owns_below(top.path(), other, 4));
        let usr = Path::new("/usr");
        assert!(!own.is_root() || owns_below(usr, own, MAX_DEPTH), "the system is root's");
        if own.is_root() {
            std::os::unix::fs::chown(top.path().join("a/b"), Some(other.as_raw()), None).unwrap();
            assert!(owns_below(top.path(), other, 2) && !owns_below(top.path(), other, 1));
        }
    }
}
