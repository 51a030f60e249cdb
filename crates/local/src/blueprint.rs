//! The plan of one cell, made from a session's specification and what this machine has.

use std::path::PathBuf;

use cellblock_driver::{DriverConfig, Relays, command};
use cellblock_exec::{Isolation, Limits, SessionSpec};
use nix::unistd::Uid;

use crate::{
    groups::{Controller, counts},
    inside::{NOBODY, PROGRAMS},
    layout, procfs,
    protocol::{CellKind, CellSpec, HostFacts},
    watch::OWN_PROCESSES,
};

/// The minimum limit on bytes that counts as no limit: no machine has as many.
const NO_BYTE_LIMIT: u64 = 1 << 62;

/// The minimum limit on tasks that counts as no limit: Linux has no more numbers for them.
const NO_TASK_LIMIT: u64 = 4_000_000;

/// The plan of a cell.
#[derive(Debug, Clone)]
pub struct Blueprint {
    pub kind: CellKind,
    pub spec: CellSpec,
    pub limits: Limits,
    /// Bytes of memory, for the control group.
    pub memory: Option<u64>,
    /// Number of tasks, for the control group.
    pub tasks: Option<u64>,
}

/// The directories of a cell on the host.
#[derive(Debug)]
pub struct CellDirectories {
    /// The directory for its files, unless it has a file system of its own.
    pub files: Option<PathBuf>,
    /// The directory for its packages, where packages can be installed.
    pub packages: Option<PathBuf>,
}

impl Blueprint {
    /// Plans the cell of a session: its first process becomes a driver with the interpreter of the
    /// kind. `path` is the `PATH` of its programs.
    pub fn for_session(
        kind: CellKind,
        path: &str,
        session: &SessionSpec,
        relays: &Relays,
        facts: &HostFacts,
        directories: CellDirectories,
    ) -> Self {
        let limits = &session.limits;
        let bytes = |value: u64| (value < NO_BYTE_LIMIT).then_some(value);
        let memory = bytes(limits.memory);
        let tasks = u64::from(limits.processes) + u64::from(OWN_PROCESSES);
        let tasks = Some(tasks).filter(|tasks| *tasks < NO_TASK_LIMIT);
        let mut config = DriverConfig::new(limits);
        let in_namespaces = kind.isolation == Isolation::Namespaces;
        config.alone = in_namespaces;
        config.relays.clone_from(&relays.relays);
        let programs = match &directories.files {
            Some(directory) => layout::programs(directory),
            None => PROGRAMS.into(),
        };
        config.path = format!("{path}:{}", programs.display());
        if let Some(directory) = &directories.files {
            config.workspace = directory.join(layout::WORKSPACE).display().to_string();
            config.temporary = directory.join(layout::TEMPORARY).display().to_string();
            if kind.isolation == Isolation::Landlock {
                config.modules = Some(layout::modules(directory).display().to_string());
            }
        }
        // The driver sees control groups only in a root of its own.
        if !in_namespaces || !counts(&facts.groups, Controller::Cpu) {
            config.cpu_ms = None;
        }
        if !counts(&facts.groups, Controller::Memory) {
            config.data = memory;
        }
        if !counts(&facts.groups, Controller::Pids) {
            config.processes = tasks.and_then(|tasks| max_tasks_of_user(kind.isolation, tasks));
        }
        let spec = CellSpec {
            program: kind.python.clone(),
            arguments: command(&config),
            environment: vec![
                ("PATH".to_owned(), config.path.clone()),
                ("HOME".to_owned(), config.temporary.clone()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ],
            directory: directories.files,
            disk: bytes(limits.disk),
            files: (limits.files < u32::MAX).then_some(u64::from(limits.files)),
            relays: !relays.relays.is_empty(),
            names: relays.names.clone(),
            addresses: relays.addresses.clone(),
            packages: directories.packages,
        };
        Self { kind, spec, limits: limits.clone(), memory, tasks }
    }

    /// Plans a cell that only tests if cells of a level can be made.
    pub fn for_test(isolation: Isolation, directory: Option<PathBuf>) -> Self {
        let spec = CellSpec {
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
        let kind = CellKind { isolation, visible: Vec::new(), python: None };
        Self { kind, spec, limits: Limits::default(), memory: None, tasks: None }
    }
}

/// Returns the limit on the tasks of the cell's user, for a cell that no control group counts.
///
/// The watch over the cell is exact, and reports which limit was exceeded; this limit only slows
/// down a program that makes processes faster than they can be killed. The user may have tasks
/// elsewhere, and other cells.
fn max_tasks_of_user(isolation: Isolation, tasks: u64) -> Option<u32> {
    let user = Uid::effective();
    let others = match isolation {
        // A user namespace of its own counts only the cell.
        Isolation::Namespaces if !user.is_root() => 0,
        _ if user.is_root() => procfs::tasks_of(NOBODY),
        _ => procfs::tasks_of(user.as_raw()),
    };
    u32::try_from(others + 4 * tasks + 64).ok()
}
