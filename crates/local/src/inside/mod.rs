//! The life of a cell's first process until it becomes the driver.
//!
//! It is made before it is needed: everything that all sessions share is got ready, then it waits for the session's
//! particulars. What takes rights away comes last, the filter of system calls last of all.

mod calls;
mod files;
mod network;
mod owned;
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

pub(crate) use calls::filters;
use cellblock_exec::Isolation;
pub(crate) use files::SCOPES;
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        prctl::{set_child_subreaper, set_no_new_privs},
        stat::{Mode, umask},
    },
    unistd::{Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, sethostname, setsid},
};
pub(crate) use owned::owns_system_directories;
pub(crate) use plan::{PROGRAMS, Plan, is_plain, plan};
pub(crate) use root::NOBODY;
use seccompiler::BpfProgram;

use crate::{
    groups::{self, Found},
    launcher::{
        directory, system,
        wire::{Failure, Kind, Spec, Step},
    },
    sys,
};

/// What is written to the complaints of a cell that was made only to see whether it can be.
pub(crate) const MADE: &str = "made";

/// What a first process knows from its launcher.
pub(crate) struct First<'a> {
    /// The kind of cell.
    pub kind: &'a Kind,
    /// What is seen of the host.
    pub plan: &'a Plan,
    /// The control group hierarchies.
    pub found: &'a [Found],
    /// The name of the cell's groups.
    pub group: Option<&'a str>,
    /// The launcher's user and group.
    pub user: (Uid, Gid),
    /// Readable once the launcher has ended.
    pub launcher: BorrowedFd<'a>,
    /// The filters for sessions without relays and with them.
    pub filters: &'a [Vec<BpfProgram>; 2],
}

/// The namespaces that a cell of this kind gets when it is made.
pub(crate) fn namespaces(isolation: Isolation, user: Uid) -> CloneFlags {
    if isolation != Isolation::Namespaces {
        return CloneFlags::empty();
    }
    let all = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // An ordinary user may make the others only in a user namespace.
    if user.is_root() { all } else { all | CloneFlags::CLONE_NEWUSER }
}

/// Gets everything ready, waits for the session, and becomes its driver. Returns only when that did not come about.
pub(crate) fn live(first: &First<'_>, socket: BorrowedFd<'_>) -> i32 {
    let ready = prepare(first);
    let Ok(Some((_, descriptors))) = sys::receive(socket) else { return 0 };
    let Ok([spec, stream, complaints]) = <[OwnedFd; 3]>::try_from(descriptors) else { return 1 };
    let told = match ready.and_then(|root| finish(first, root.as_ref(), spec, &stream, &complaints))
    {
        Ok(Finished::Tried) => MADE.to_owned(),
        Err(failure) => serde_json::to_string(&failure).unwrap_or_default(),
        Ok(Finished::Became(never)) => match never {},
    };
    let _ = File::from(complaints).write_all(told.as_bytes());
    1
}

enum Finished {
    Tried,
    Became(Infallible),
}

/// What does not depend on the session.
fn prepare(first: &First<'_>) -> Result<Option<root::Root>, Failure> {
    rights::end_with(first.launcher)?;
    setsid().step(|| "begin a session".to_owned())?;
    umask(Mode::from_bits_truncate(0o022));
    sys::reset_signals();
    let namespaces = first.kind.isolation == Isolation::Namespaces;
    let (uid, gid) = first.user;
    if namespaces && !uid.is_root() {
        rights::map_user(uid, gid)?;
    }
    if let Some(group) = first.group {
        groups::enter(first.found, group).step(|| "enter a control group".to_owned())?;
    }
    if !namespaces {
        // Processes that lose their parent come to the driver, so that all of the cell's stay below it.
        set_child_subreaper(true).step(|| "become a reaper".to_owned())?;
        return Ok(None);
    }
    // Only now, so that the cell's own group is its root.
    unshare(CloneFlags::CLONE_NEWCGROUP).step(|| "make a control group namespace".to_owned())?;
    sethostname("cell").step(|| "set the host name".to_owned())?;
    root::prepare(first.plan, first.found, first.group).map(Some)
}

/// What the session asks for; then everything is given up and the driver takes over.
fn finish(
    first: &First<'_>,
    root: Option<&root::Root>,
    spec: OwnedFd,
    stream: &OwnedFd,
    complaints: &OwnedFd,
) -> Result<Finished, Failure> {
    let spec = read(spec)?;
    match (root, &spec.directory) {
        (Some(root), _) => {
            root::finish(root, first.plan, &spec)?;
            chdir("/workspace").step(|| "enter the workspace".to_owned())?;
        }
        (None, Some(directory)) => {
            chdir(&directory.join("workspace")).step(|| "enter the workspace".to_owned())?;
        }
        (None, None) => chdir("/").step(|| "enter the root".to_owned())?,
    }
    dup2_stdin(stream).step(|| "take the stream".to_owned())?;
    dup2_stdout(stream).step(|| "take the stream".to_owned())?;
    dup2_stderr(complaints).step(|| "take the complaints".to_owned())?;
    sys::mark_close_on_exec_from(3).step(|| "close descriptors".to_owned())?;
    rights::bound()?;
    rights::give_up(first.user.0.is_root())?;
    rights::end_with(first.launcher)?;
    set_no_new_privs().step(|| "give up new privileges".to_owned())?;
    let exec = spec.program.as_deref().map(|program| Exec::new(program, &spec)).transpose()?;
    match first.kind.isolation {
        Isolation::Namespaces => files::restrict_root()?,
        Isolation::Landlock => {
            let visible: Vec<_> =
                first.kind.visible.iter().chain(&spec.packages).cloned().collect();
            let parts = |names: &[&str]| -> Vec<PathBuf> {
                let directories = spec.directory.iter();
                directories.flat_map(|at| names.iter().map(|name| at.join(name))).collect()
            };
            let visible = [visible, parts(&[system::NAME])].concat();
            files::restrict_host(&visible, &parts(&directory::OWN))?;
        }
        _ => {}
    }
    if first.kind.isolation != Isolation::None {
        calls::install(&first.filters[usize::from(spec.relays)])?;
    }
    match exec {
        None => Ok(Finished::Tried),
        Some(exec) => exec.run().map(Finished::Became),
    }
}

/// Gives this process, a fork of the launcher, no more rights than the programs of a cell have, and
/// of files only this directory.
pub(crate) fn confine(isolation: Isolation, user: Uid, directory: &Path) -> Result<(), Failure> {
    chdir(directory).step(|| "enter a directory".to_owned())?;
    rights::give_up(user.is_root())?;
    set_no_new_privs().step(|| "give up new privileges".to_owned())?;
    // Before its second version, Landlock denies all renaming between directories.
    if isolation == Isolation::Landlock && sys::landlock_version() >= 2 {
        return files::restrict_host(&[], &[directory.to_owned()]);
    }
    Ok(())
}

fn read(spec: OwnedFd) -> Result<Spec, Failure> {
    let mut file = File::from(spec);
    let mut text = String::new();
    file.rewind()
        .and_then(|()| file.read_to_string(&mut text))
        .step(|| "read the session".to_owned())?;
    serde_json::from_str(&text).map_err(|error| Failure {
        step: "read the session".to_owned(),
        errno: 0,
        reason: error.to_string(),
    })
}

/// An exec in the form that the system takes, made while there are no filters yet.
struct Exec {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Exec {
    fn new(program: &Path, spec: &Spec) -> Result<Self, Failure> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|error| Failure {
                step: "start the driver".to_owned(),
                errno: 0,
                reason: error.to_string(),
            })
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

/// Closes all descriptors of the launcher that a first process does not need. It has just been forked.
pub(crate) fn keep_only(kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let null = File::open("/dev/null").map_err(|_| nix::errno::Errno::ENOENT)?;
    dup2_stdin(null.as_fd())?;
    drop(null);
    sys::close_from(3, kept)
}
