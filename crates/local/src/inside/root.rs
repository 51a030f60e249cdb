//! The file system of a cell in namespaces: a small one in memory with read-only views of the host in it.

use std::{
    fs::{self, Permissions},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{Gid, Uid, chown, fchdir, pivot_root},
};

use super::plan::{DEVICES, Plan, Seen};
use crate::{
    groups::Found,
    launcher::wire::{Failure, Spec, Step},
    sys,
};

// Attributes of mounts, from <linux/mount.h>.
const READ_ONLY: u64 = 0x1;
const NO_SETUID: u64 = 0x2;
const NO_DEVICES: u64 = 0x4;
const NO_EXEC: u64 = 0x8;

/// The user and group that programs run as: `nobody`, which owns nothing.
pub(crate) const NOBODY: u32 = 65534;

/// Directories of the cell's own file system, and their places in the cell.
const OWN: [(&str, &str, u32); 3] =
    [("workspace", "workspace", 0o755), ("tmp", "tmp", 0o1777), ("shm", "dev/shm", 0o1777)];

/// An empty directory of the cell, which hides others.
const EMPTY: &str = "var/empty";

/// A root that has everything but what differs between sessions. The process is in it, but does not have it as its root
/// yet: the host's directories are still at hand.
pub(crate) struct Root {
    tree: OwnedFd,
}

/// Makes the part of the root that all sessions share, in a mount namespace of our own.
pub(crate) fn prepare(plan: &Plan, found: &[Found], group: Option<&str>) -> Result<Root, Failure> {
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .step(|| "make mounts private".to_owned())?;
    let options = [(c"mode", "0755".to_owned()), (c"size", "1m".to_owned())];
    let tree = sys::new_mount(c"tmpfs", &options, NO_SETUID | NO_DEVICES)
        .step(|| "make a root".to_owned())?;
    // It lies over the old root, so no directory of the host is needed as its place; the old root stays the root of
    // paths until the end.
    sys::attach(tree.as_fd(), None, Path::new("/")).step(|| "attach the root".to_owned())?;
    fchdir(&tree).step(|| "enter the root".to_owned())?;

    for seen in &plan.seen {
        show(seen)?;
    }
    devices()?;
    for path in ["proc", "packages", EMPTY, "workspace", "tmp", "dev/shm", "sys/fs/cgroup"] {
        directory(Path::new(path))?;
    }
    if let Some(group) = group {
        for hierarchy in found {
            let place = Path::new("sys/fs/cgroup").join(&hierarchy.name);
            directory(&place)?;
            bind(
                &hierarchy.base.join(group),
                &place,
                READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC,
            )?;
        }
    }
    accounts()?;
    proc(plan)?;
    Ok(Root { tree })
}

/// Adds what is the session's own and makes the result the root of this process.
pub(crate) fn finish(root: &Root, plan: &Plan, spec: &Spec) -> Result<(), Failure> {
    own_directories(plan, spec)?;
    if let Some(packages) = &spec.packages {
        bind(packages, Path::new("packages"), READ_ONLY | NO_SETUID | NO_DEVICES)?;
    }
    let mut hosts = "127.0.0.1 localhost cell\n::1 localhost\n".to_owned();
    spec.names.iter().for_each(|(name, address)| hosts.push_str(&format!("{address} {name}\n")));
    write("etc/hosts", &hosts)?;
    if spec.relays {
        super::network::raise(spec)?;
    }
    // The kernel's settings become read-only only now: one of them was just set.
    for name in &plan.fixed {
        let path = Path::new("proc").join(name);
        bind(
            Path::new(&format!("./proc/{name}")),
            &path,
            READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC,
        )?;
    }
    seal(root)
}

/// Makes the root of this process what was built, read-only, and lets go of the host's.
fn seal(root: &Root) -> Result<(), Failure> {
    let old = fs::File::open("/").step(|| "open the old root".to_owned())?;
    pivot_root(".", ".").step(|| "change the root".to_owned())?;
    fchdir(&old).step(|| "enter the old root".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).step(|| "let go of the old root".to_owned())?;
    fchdir(&root.tree).step(|| "enter the root".to_owned())?;
    let nothing = None::<&str>;
    let flags = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    mount(nothing, "/", nothing, flags, nothing).step(|| "make the root read-only".to_owned())
}

/// One file system in memory holds the workspace, temporary files and shared memory, so that their sum is limited.
fn own_directories(plan: &Plan, spec: &Spec) -> Result<(), Failure> {
    // The root directory of the file system and each of ours take a number, too.
    let ours =
        1 + OWN.len() + plan.late.iter().map(|path| path.components().count()).sum::<usize>();
    // For this file system 0 means no limit. Less than a page cannot be given.
    let size = spec.disk.map_or(0, |bytes| bytes.max(4096));
    let files = spec.files.map_or(0, |files| files.saturating_add(ours as u64));
    let options = [
        (c"mode", "0755".to_owned()),
        (c"size", size.to_string()),
        (c"nr_inodes", files.to_string()),
    ];
    let tree = sys::new_mount(c"tmpfs", &options, NO_SETUID | NO_DEVICES)
        .step(|| "make a workspace".to_owned())?;
    let place = Path::new("workspace");
    sys::attach(tree.as_fd(), None, place).step(|| "attach the workspace".to_owned())?;
    let mut parts = Vec::new();
    for (name, target, mode) in OWN {
        let path = place.join(name);
        directory(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))
            .step(|| format!("set the mode of {name}"))?;
        chown(&path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))
            .step(|| format!("give {name} away"))?;
        parts.push((sys::clone_tree(None, &path).step(|| format!("take {name}"))?, target));
    }
    umount2(place, MntFlags::MNT_DETACH).step(|| "detach the workspace".to_owned())?;
    for (part, target) in parts {
        sys::attach(part.as_fd(), None, Path::new(target)).step(|| format!("attach {target}"))?;
    }
    plan.late.iter().try_for_each(|path| show(&Seen::Directory(path.clone())))
}

/// Shows a thing of the host at the same path.
fn show(seen: &Seen) -> Result<(), Failure> {
    match seen {
        Seen::Directory(path) => {
            directory(relative(path))?;
            bind(path, relative(path), READ_ONLY | NO_SETUID | NO_DEVICES)
        }
        Seen::File(path) => {
            empty_file(relative(path))?;
            bind(path, relative(path), READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC)
        }
        Seen::Link(path, target) => {
            parent(relative(path))?;
            symlink(target, relative(path)).step(|| format!("link {}", path.display()))
        }
    }
}

/// The few devices that programs need, and the usual links.
fn devices() -> Result<(), Failure> {
    for name in DEVICES {
        let path = PathBuf::from("dev").join(name);
        empty_file(&path)?;
        // A device can be written on a read-only mount; only its node cannot be changed.
        bind(&Path::new("/dev").join(name), &path, READ_ONLY | NO_SETUID | NO_EXEC)?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(Path::new("/proc/self").join(target), Path::new("dev").join(name))
            .step(|| format!("link /dev/{name}"))?;
    }
    Ok(())
}

/// Accounts of the cell's own: none of the host's names is seen.
fn accounts() -> Result<(), Failure> {
    write(
        "etc/passwd",
        "root:x:0:0:root:/:/bin/false\ncell:x:65534:65534:cell:/workspace:/bin/sh\n",
    )?;
    write("etc/group", "root:x:0:\ncell:x:65534:\n")?;
    write(
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    )
}

/// A `/proc` that shows the cell's processes only, without what tells about the host.
fn proc(plan: &Plan) -> Result<(), Failure> {
    let tree = sys::new_mount(c"proc", &[], NO_SETUID | NO_DEVICES | NO_EXEC)
        .step(|| "make /proc".to_owned())?;
    sys::attach(tree.as_fd(), None, Path::new("proc")).step(|| "attach /proc".to_owned())?;
    for name in &plan.hidden_files {
        bind(
            Path::new("/dev/null"),
            &Path::new("proc").join(name),
            READ_ONLY | NO_SETUID | NO_EXEC,
        )?;
    }
    // Process 1 is the driver. A program with the same user could otherwise write to its memory there, and speak to the
    // host in its place.
    for name in plan.hidden_directories.iter().chain(&["1"]) {
        let place = Path::new("proc").join(name);
        bind(&Path::new("./").join(EMPTY), &place, READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC)?;
    }
    Ok(())
}

/// Shows `source` at `place` with these attributes.
fn bind(source: &Path, place: &Path, attributes: u64) -> Result<(), Failure> {
    let tree = sys::clone_tree(None, source).step(|| format!("take {}", source.display()))?;
    sys::set_attributes(tree.as_fd(), attributes)
        .step(|| format!("protect {}", source.display()))?;
    sys::attach(tree.as_fd(), None, place).step(|| format!("show /{}", place.display()))
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).step(|| format!("make the directory /{}", path.display()))
}

fn parent(path: &Path) -> Result<(), Failure> {
    path.parent().map_or(Ok(()), directory)
}

fn empty_file(path: &Path) -> Result<(), Failure> {
    parent(path)?;
    fs::write(path, "").step(|| format!("make the file /{}", path.display()))
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    parent(Path::new(path))?;
    fs::write(path, text).step(|| format!("write /{path}"))
}
