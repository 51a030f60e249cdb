//! The life of a cell's first process, until it becomes the driver.
//!
//! The launcher makes it before a session needs it. The process prepares everything that all
//! sessions share, then waits for the session's [`CellSpec`]. The steps that remove rights come
//! last, the system call filter last of all.
//!
//! The order: `root` (what the cell sees, as `plan` says), `network`, `rights`, `files` (Landlock),
//! `calls` (the filters, made of the rules in [`cellblock_driver::calls`]). Preparing the process
//! in advance saves most of the cost of opening a session.

mod calls;
mod files;
mod network;
mod plan;
mod rights;
mod root;

use std::{
    convert::Infallible,
    ffi::CString,
    fs::File,
    io::{Read, Seek, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

pub use calls::filters;
use cellblock_exec::Isolation;
pub use files::{MIN_SCOPES, RESTRICT};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        prctl::{set_child_subreaper, set_no_new_privs},
        stat::{Mode, umask},
    },
    unistd::{Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, sethostname, setsid},
};
pub use plan::{PROGRAMS, RootPlan, can_be_shown, plan};
pub use rights::NOBODY;
use seccompiler::BpfProgram;

use crate::{
    failure::{Failure, StepContext},
    groups::{self, Hierarchy},
    layout,
    protocol::{CellKind, CellSpec},
    sys,
};

/// The text that a cell writes to its standard error if it was made only as a test, and can be
/// made.
pub const CELL_WORKS: &str = "made";

/// The things that a first process gets from its launcher.
pub struct FirstProcess<'a> {
    /// The kind of the cell.
    pub kind: &'a CellKind,
    /// The plan for the root.
    pub plan: &'a RootPlan,
    /// The control group hierarchies.
    pub hierarchies: &'a [Hierarchy],
    /// The name of the cell's groups.
    pub group: Option<&'a str>,
    /// The launcher's user and group.
    pub user: (Uid, Gid),
    /// A descriptor that is readable once the launcher has ended.
    pub launcher: BorrowedFd<'a>,
    /// The filters for sessions without relays, and for sessions with them.
    pub filters: &'a [Vec<BpfProgram>; 2],
}

/// Returns the namespaces in which a first process of this level is made.
pub fn namespaces(isolation: Isolation, user: Uid) -> CloneFlags {
    if isolation != Isolation::Namespaces {
        return CloneFlags::empty();
    }
    let all = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // An ordinary user can make the others only in a user namespace.
    if user.is_root() { all } else { all | CloneFlags::CLONE_NEWUSER }
}

/// Prepares the cell, waits for the session, and becomes its driver. Returns an exit code, and only
/// if the process does not become the driver.
pub fn run(first: &FirstProcess<'_>, socket: BorrowedFd<'_>) -> i32 {
    let ready = prepare(first);
    let Ok(Some((_, descriptors))) = sys::receive(socket) else { return 0 };
    let Ok([spec, stream, stderr]) = <[OwnedFd; 3]>::try_from(descriptors) else { return 1 };
    let finished = ready.and_then(|root| finish(first, root.as_ref(), spec, &stream, &stderr));
    let report = match finished {
        Ok(()) => CELL_WORKS.to_owned(),
        Err(failure) => serde_json::to_string(&failure).unwrap_or_default(),
    };
    let _ = File::from(stderr).write_all(report.as_bytes());
    1
}

/// Takes the steps that do not depend on the session.
fn prepare(first: &FirstProcess<'_>) -> Result<Option<root::Root>, Failure> {
    rights::die_with(first.launcher)?;
    setsid().step(|| "begin a session".to_owned())?;
    umask(Mode::from_bits_truncate(0o022));
    sys::reset_signals();
    let namespaces = first.kind.isolation == Isolation::Namespaces;
    let (uid, gid) = first.user;
    if namespaces && !uid.is_root() {
        rights::map_user(uid, gid)?;
    }
    if let Some(group) = first.group {
        groups::enter(first.hierarchies, group).step(|| "enter a control group".to_owned())?;
    }
    if !namespaces {
        // Processes that lose their parent become children of the driver, so that all processes of
        // the cell stay below it.
        set_child_subreaper(true).step(|| "become a reaper".to_owned())?;
        return Ok(None);
    }
    // After entering the group, so that the cell's own group is the root of the namespace.
    unshare(CloneFlags::CLONE_NEWCGROUP).step(|| "make a control group namespace".to_owned())?;
    sethostname("cell").step(|| "set the host name".to_owned())?;
    root::prepare(first.plan, first.hierarchies, first.group).map(Some)
}

/// Takes the steps of the session, removes all rights, and becomes the driver. Returns `Ok` only
/// for a cell that is a test.
fn finish(
    first: &FirstProcess<'_>,
    root: Option<&root::Root>,
    spec: OwnedFd,
    stream: &OwnedFd,
    stderr: &OwnedFd,
) -> Result<(), Failure> {
    let spec = read(spec)?;
    match (root, &spec.directory) {
        (Some(root), _) => {
            root::finish(root, first.plan, &spec)?;
            chdir("/workspace").step(|| "enter the workspace".to_owned())?;
        }
        (None, Some(directory)) => {
            let workspace = directory.join(layout::WORKSPACE);
            chdir(&workspace).step(|| "enter the workspace".to_owned())?;
        }
        (None, None) => chdir("/").step(|| "enter the root".to_owned())?,
    }
    dup2_stdin(stream).step(|| "take the stream".to_owned())?;
    dup2_stdout(stream).step(|| "take the stream".to_owned())?;
    dup2_stderr(stderr).step(|| "take the standard error".to_owned())?;
    sys::mark_close_on_exec_from(3).step(|| "close descriptors".to_owned())?;
    rights::limit_resources()?;
    rights::drop_privileges(first.user.0.is_root())?;
    rights::die_with(first.launcher)?;
    set_no_new_privs().step(|| "give up new privileges".to_owned())?;
    let exec = spec.program.as_deref().map(|program| Exec::new(program, &spec)).transpose()?;
    restrict_files(first.kind, &spec)?;
    if first.kind.isolation != Isolation::None {
        calls::install(&first.filters[usize::from(spec.relays)])?;
    }
    match exec {
        None => Ok(()),
        Some(exec) => exec.run().map(|never| match never {}),
    }
}

fn restrict_files(kind: &CellKind, spec: &CellSpec) -> Result<(), Failure> {
    match kind.isolation {
        Isolation::Namespaces => files::restrict_root(),
        Isolation::Landlock => {
            let parts = |names: &[&str]| -> Vec<PathBuf> {
                let directories = spec.directory.iter();
                directories.flat_map(|at| names.iter().map(|name| at.join(name))).collect()
            };
            let visible = kind.visible.iter().chain(&spec.packages).cloned();
            let visible: Vec<_> = visible.chain(parts(&[layout::SYSTEM])).collect();
            files::restrict_host(&visible, &parts(&layout::WRITABLE))
        }
        _ => Ok(()),
    }
}

/// Reduces the rights of this process, a fork of the launcher, to those of a cell's programs, and
/// its files to this directory.
pub fn confine(isolation: Isolation, user: Uid, directory: &Path) -> Result<(), Failure> {
    chdir(directory).step(|| "enter a directory".to_owned())?;
    rights::drop_privileges(user.is_root())?;
    set_no_new_privs().step(|| "give up new privileges".to_owned())?;
    // Before its second version, Landlock denies all renaming between directories.
    if isolation == Isolation::Landlock && sys::landlock_version() >= 2 {
        return files::restrict_host(&[], &[directory.to_owned()]);
    }
    Ok(())
}

/// Closes all descriptors of the launcher that this process, which has just been forked, does not
/// need.
pub fn close_others(kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let null = File::open("/dev/null").map_err(|_| Errno::ENOENT)?;
    dup2_stdin(null.as_fd())?;
    drop(null);
    sys::close_from(3, kept)
}

fn read(spec: OwnedFd) -> Result<CellSpec, Failure> {
    const STEP: &str = "read the session";
    let mut file = File::from(spec);
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).step(|| STEP.to_owned())?;
    serde_json::from_str(&text).map_err(|error| Failure::new(STEP, error))
}

/// The arguments of an exec in the system's form, made before there are filters.
struct Exec {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Exec {
    fn new(program: &Path, spec: &CellSpec) -> Result<Self, Failure> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|error| Failure::new("start the driver", error))
        };
        let program = text(program.as_os_str().as_bytes())?;
        let mut arguments = vec![program.clone()];
        for argument in &spec.arguments {
            arguments.push(text(argument.as_bytes())?);
        }
        let environment: Result<_, _> = spec
            .environment
            .iter()
            .map(|(name, value)| text(format!("{name}={value}").as_bytes()))
            .collect();
        Ok(Self { program, arguments, environment: environment? })
    }

    fn run(&self) -> Result<Infallible, Failure> {
        execve(&self.program, &self.arguments, &self.environment)
            .step(|| format!("run {}", self.program.to_string_lossy()))
    }
}
