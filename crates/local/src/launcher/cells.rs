//! The cells of a launcher, and how they begin.

use std::{
    cell::OnceCell,
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
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

use super::{
    directory,
    wire::{Facts, Failure, Kind, Process, Start, Step},
};
use crate::{
    groups,
    inside::{self, First, Plan},
    sys::{self, Forked},
};

/// How old a process that was made in advance may be: what it shows of the host is as of when it was made.
const FRESH: Duration = Duration::from_secs(300);

/// The cells, and what they are made with.
pub(crate) struct Cells {
    pub(super) facts: Facts,
    pub(super) launcher: OwnedFd,
    pub(super) user: (Uid, Gid),
    owns_system: OnceCell<bool>,
    pub(super) plans: Vec<Prepared>,
    pub(super) cells: HashMap<u64, Cell>,
    pub(super) spare: Option<Spare>,
    /// Processes that remove a directory, with the cell it was of.
    pub(super) sweepers: HashMap<Pid, u64>,
    /// Processes that remove files which are too many, with the cell that has them, and the
    /// programs below its driver that are to be killed then.
    pub(super) trimmers: HashMap<Pid, (u64, Vec<i32>)>,
    /// Groups of processes that were not needed.
    pub(super) unused: Vec<String>,
    pub(super) next_group: u64,
    /// Whether processes without a driver have not ended yet.
    pub(super) busy: bool,
}

/// What is the same for all cells of a kind.
pub(super) struct Prepared {
    kind: Kind,
    plan: Plan,
    filters: [Vec<BpfProgram>; 2],
}

/// A first process that waits for its session.
pub(super) struct Spare {
    pub(super) pid: Pid,
    pub(super) socket: OwnedFd,
    pub(super) group: Option<String>,
    pub(super) kind: Kind,
    pub(super) made: Instant,
}

#[derive(Default)]
pub(super) struct Cell {
    pub(super) isolation: Option<Isolation>,
    pub(super) driver: Option<Pid>,
    pub(super) group: Option<String>,
    pub(super) directory: Option<PathBuf>,
    /// The directory of its packages.
    pub(super) packages: Option<PathBuf>,
    pub(super) removing: bool,
    /// The host wants to know when all is gone.
    pub(super) ending: bool,
    pub(super) since: Option<Instant>,
    pub(super) problem: Option<Failure>,
    /// A start that waits until all of the previous driver is gone.
    pub(super) next: Option<(Start, [OwnedFd; 3])>,
}

/// What came of a request after it was answered.
pub(crate) enum Event {
    /// A cell has started, or has not.
    Started(u64, Result<Process, Failure>),
    /// A cell's first process has ended; whether memory was the reason for some end in the cell.
    Died(u64, bool),
    /// A cell's programs have been stopped, or its directory trimmed as far as it could be.
    Done(u64),
    /// Nothing of a cell is left, or what could not be removed.
    Ended(u64, Option<Failure>),
}

impl Cells {
    /// None yet.
    pub fn new(facts: Facts, launcher: OwnedFd) -> Self {
        Self {
            facts,
            launcher,
            user: (Uid::effective(), Gid::effective()),
            owns_system: OnceCell::new(),
            plans: Vec::new(),
            cells: HashMap::new(),
            spare: None,
            sweepers: HashMap::new(),
            trimmers: HashMap::new(),
            unused: Vec::new(),
            next_group: 0,
            busy: false,
        }
    }

    /// What was found on this machine.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Makes a first process in advance.
    pub fn prepare(&mut self, kind: Kind) {
        let usable = self
            .spare
            .as_ref()
            .is_some_and(|spare| spare.kind == kind && spare.made.elapsed() < FRESH);
        if !usable {
            self.discard();
            self.spare = self.first(kind).ok();
        }
    }

    /// Starts a cell, or lets it start again once its previous driver is gone.
    pub fn start(&mut self, start: Start, descriptors: [OwnedFd; 3]) -> Option<Event> {
        let number = start.cell;
        let cell = self.cells.entry(number).or_default();
        if cell.driver.is_some() || cell.group.is_some() {
            cell.next = Some((start, descriptors));
            self.halt(number);
            return None;
        }
        let started = self.begin(start, descriptors);
        Some(Event::Started(number, started))
    }

    pub(super) fn begin(
        &mut self,
        start: Start,
        descriptors: [OwnedFd; 3],
    ) -> Result<Process, Failure> {
        self.make_directories(&start)?;
        let spare = match self.spare.take() {
            Some(spare) if spare.kind == start.kind && spare.made.elapsed() < FRESH => spare,
            other => {
                self.spare = other;
                self.discard();
                self.first(start.kind.clone())?
            }
        };
        let Spare { pid, socket, group, .. } = spare;
        let started = crate::watch::started(pid.as_raw()).unwrap_or(0);
        if let Some(cell) = self.cells.get_mut(&start.cell) {
            cell.driver = Some(pid);
            cell.group = group.clone();
            cell.since = None;
        }
        let given = group.as_deref().map_or(Ok(()), |group| {
            groups::limit(&self.facts.groups, group, start.memory, start.tasks)
                .step(|| "set the limits of a control group".to_owned())
        });
        let given = given.and_then(|()| {
            let descriptors =
                [descriptors[0].as_fd(), descriptors[1].as_fd(), descriptors[2].as_fd()];
            sys::send(socket.as_fd(), b"start", &descriptors)
                .step(|| "hand a session over".to_owned())
        });
        if let Err(failure) = given {
            let _ = kill(pid, Signal::SIGKILL);
            return Err(failure);
        }
        Ok(Process { pid: pid.as_raw(), started, group })
    }

    /// Makes the directories of a cell that has none yet. One that is there already is somebody
    /// else's, and an error.
    fn make_directories(&mut self, start: &Start) -> Result<(), Failure> {
        let cell = self.cells.entry(start.cell).or_default();
        cell.isolation = Some(start.kind.isolation);
        let step = |path: &Path| format!("make {}", path.display());
        if let (Some(path), None) = (&start.directory, &cell.directory) {
            let top = directory::make_readable(path).step(|| step(path))?;
            cell.directory = Some(path.clone());
            directory::fill(&top, self.user.0, start.kind.python.as_deref()).step(|| step(path))?;
        }
        if let (Some(path), None) = (&start.packages, &cell.packages) {
            directory::make_for_packages(path).step(|| step(path))?;
            cell.packages = Some(path.clone());
        }
        Ok(())
    }

    /// Forks a first process of this kind.
    fn first(&mut self, kind: Kind) -> Result<Spare, Failure> {
        let at = self.prepared(&kind)?;
        let group = (!self.facts.groups.is_empty()).then(|| {
            self.next_group += 1;
            format!("{}-{}", self.facts.name, self.next_group)
        });
        if let Some(group) = &group {
            groups::make(&self.facts.groups, group).step(|| "make a control group".to_owned())?;
        }
        let made = self.fork(at, group.as_deref());
        match (made, group) {
            (Ok((pid, socket)), group) => {
                Ok(Spare { pid, socket, group, kind, made: Instant::now() })
            }
            (Err(failure), group) => {
                self.unused.extend(group);
                Err(failure)
            }
        }
    }

    fn fork(&self, at: usize, group: Option<&str>) -> Result<(Pid, OwnedFd), Failure> {
        let prepared = &self.plans[at];
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .step(|| "make a socket".to_owned())?;
        let namespaces = inside::namespaces(prepared.kind.isolation, self.user.0);
        match sys::fork_into(namespaces).step(|| "make a process in new namespaces".to_owned())? {
            Forked::Parent(pid) => Ok((pid, ours)),
            Forked::Child => {
                let first = First {
                    kind: &prepared.kind,
                    plan: &prepared.plan,
                    found: &self.facts.groups,
                    group,
                    user: self.user,
                    launcher: self.launcher.as_fd(),
                    filters: &prepared.filters,
                };
                let code = match inside::keep_only(&[theirs.as_fd(), self.launcher.as_fd()]) {
                    Ok(()) => inside::live(&first, theirs.as_fd()),
                    Err(_) => 1,
                };
                sys::exit(code)
            }
        }
    }

    /// The place of what all cells of this kind share.
    fn prepared(&mut self, kind: &Kind) -> Result<usize, Failure> {
        if let Some(at) = self.plans.iter().position(|prepared| prepared.kind == *kind) {
            return Ok(at);
        }
        let filters = |hosts| {
            let groups = &self.facts.groups;
            inside::filters(&CellTraits {
                hosts,
                counted_memory: groups::counts(groups, groups::Controller::Memory),
                shared_root: kind.isolation != Isolation::Namespaces,
                // As root, programs become another user, who owns nothing.
                owner: !self.user.0.is_root(),
                readable: !kind.visible.is_empty()
                    || kind.isolation == Isolation::Landlock && self.owns_system(),
                scoped_signals: self.facts.landlock >= inside::SCOPES,
            })
        };
        let filters = [filters(false)?, filters(true)?];
        self.plans.push(Prepared {
            kind: kind.clone(),
            plan: inside::plan(&kind.visible, kind.python.as_deref()),
            filters,
        });
        Ok(self.plans.len() - 1)
    }

    /// Tells whether parts of the system are this user's. They are looked for once.
    fn owns_system(&self) -> bool {
        *self.owns_system.get_or_init(|| inside::owns_system_directories(self.user.0))
    }

    /// Ends a process that was made in advance.
    pub(super) fn discard(&mut self) {
        if let Some(spare) = self.spare.take() {
            let _ = kill(spare.pid, Signal::SIGKILL);
            self.unused.extend(spare.group);
        }
    }
}
