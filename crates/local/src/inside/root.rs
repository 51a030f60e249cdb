//! The root of a cell in namespaces: a small file system in memory, with read-only views of the
//! host mounted in it.

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

use super::{
    network,
    plan::{DEVICES, RootPlan, VisiblePath},
    rights::NOBODY,
};
use crate::{
    failure::{Failure, StepContext},
    groups::Hierarchy,
    protocol::CellSpec,
    sys,
};

// Attributes of mounts, from <linux/mount.h>.
const READ_ONLY: u64 = 0x1;
const NO_SETUID: u64 = 0x2;
const NO_DEVICES: u64 = 0x4;
const NO_EXEC: u64 = 0x8;

/// Directories of the cell's own file system, with their places in the cell and their modes.
const OWN: [(&str, &str, u32); 3] =
    [("workspace", "workspace", 0o755), ("tmp", "tmp", 0o1777), ("shm", "dev/shm", 0o1777)];

/// An empty directory of the cell, mounted over directories to hide them.
const EMPTY: &str = "var/empty";

/// A root that lacks only what differs between sessions. The process is in it, but it is not the
/// root of the process yet: the host's directories can still be reached.
pub struct Root {
    tree: OwnedFd,
}

/// Makes the part of the root that all sessions share. The process has a mount namespace of its
/// own.
pub fn prepare(
    plan: &RootPlan,
    hierarchies: &[Hierarchy],
    group: Option<&str>,
) -> Result<Root, Failure> {
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .step(|| "make mounts private".to_owned())?;
    let options = [(c"mode", "0755".to_owned()), (c"size", "1m".to_owned())];
    let tree = sys::new_mount(c"tmpfs", &options, NO_SETUID | NO_DEVICES)
        .step(|| "make a root".to_owned())?;
    // It is mounted over the old root, so it needs no directory of the host as its place. Paths
    // start from the old root until the end.
    sys::attach(tree.as_fd(), None, Path::new("/")).step(|| "attach the root".to_owned())?;
    fchdir(&tree).step(|| "enter the root".to_owned())?;

    for visible in &plan.visible {
        show(visible)?;
    }
    devices()?;
    for path in ["proc", "packages", EMPTY, "workspace", "tmp", "dev/shm", "sys/fs/cgroup"] {
        directory(Path::new(path))?;
    }
    if let Some(group) = group {
        for hierarchy in hierarchies {
            let place = Path::new("sys/fs/cgroup").join(&hierarchy.name);
            directory(&place)?;
            let attributes = READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC;
            bind(&hierarchy.base.join(group), &place, attributes)?;
        }
    }
    accounts()?;
    proc(plan)?;
    Ok(Root { tree })
}

/// Adds the session's own parts and makes the result the root of this process.
pub fn finish(root: &Root, plan: &RootPlan, spec: &CellSpec) -> Result<(), Failure> {
    own_directories(plan, spec)?;
    if let Some(packages) = &spec.packages {
        bind(packages, Path::new("packages"), READ_ONLY | NO_SETUID | NO_DEVICES)?;
    }
    let mut hosts = "127.0.0.1 localhost cell\n::1 localhost\n".to_owned();
    spec.names.iter().for_each(|(name, address)| hosts.push_str(&format!("{address} {name}\n")));
    write("etc/hosts", &hosts)?;
    if spec.relays {
        network::raise(spec)?;
    }
    // The kernel's settings become read-only only now: raising the network sets one of them.
    for name in &plan.read_only {
        let (source, place) = (format!("./proc/{name}"), Path::new("proc").join(name));
        bind(Path::new(&source), &place, READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC)?;
    }
    seal(root)
}

/// Makes the new root the root of this process, read-only, and detaches the host's.
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

/// Mounts the workspace, temporary files and shared memory. One file system in memory holds all of
/// them, so that their sum is limited.
fn own_directories(plan: &RootPlan, spec: &CellSpec) -> Result<(), Failure> {
    // The root directory of the file system and each directory of ours take an inode, too.
    let below_tmp = plan.below_tmp.iter().map(|path| path.components().count());
    let ours = 1 + OWN.len() + below_tmp.sum::<usize>();
    // For this file system 0 means no limit, and a size is at least a page.
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
    plan.below_tmp.iter().try_for_each(|path| show(&VisiblePath::Directory(path.clone())))
}

/// Shows a path of the host at the same path.
fn show(visible: &VisiblePath) -> Result<(), Failure> {
    match visible {
        VisiblePath::Directory(path) => {
            directory(relative(path))?;
            bind(path, relative(path), READ_ONLY | NO_SETUID | NO_DEVICES)
        }
        VisiblePath::File(path) => {
            empty_file(relative(path))?;
            bind(path, relative(path), READ_ONLY | NO_SETUID | NO_DEVICES | NO_EXEC)
        }
        VisiblePath::Link(path, target) => {
            parent(relative(path))?;
            symlink(target, relative(path)).step(|| format!("link {}", path.display()))
        }
    }
}

/// Shows the few devices that programs need, and makes the standard links in `/dev`.
fn devices() -> Result<(), Failure> {
    for name in DEVICES {
        let path = PathBuf::from("dev").join(name);
        empty_file(&path)?;
        // A read-only mount protects the node of a device, but the device can be written.
        bind(&Path::new("/dev").join(name), &path, READ_ONLY | NO_SETUID | NO_EXEC)?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(Path::new("/proc/self").join(target), Path::new("dev").join(name))
            .step(|| format!("link /dev/{name}"))?;
    }
    Ok(())
}

/// Writes accounts of the cell's own: the host's names are not visible.
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

/// Mounts a `/proc` that shows only the cell's processes, and hides what describes the host.
fn proc(plan: &RootPlan) -> Result<(), Failure> {
    let tree = sys::new_mount(c"proc", &[], NO_SETUID | NO_DEVICES | NO_EXEC)
        .step(|| "make /proc".to_owned())?;
    sys::attach(tree.as_fd(), None, Path::new("proc")).step(|| "attach /proc".to_owned())?;
    for name in &plan.hidden_files {
        let place = Path::new("proc").join(name);
        bind(Path::new("/dev/null"), &place, READ_ONLY | NO_SETUID | NO_EXEC)?;
    }
    // Process 1 is the driver. Otherwise a program of the same user could write to its memory there
    // and send messages to the host in its place.
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
