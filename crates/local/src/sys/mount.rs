//! Mounts by descriptor (Linux 5.12): no path is resolved twice, and a mount costs three short
//! calls.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use nix::{NixPath, errno::Errno};

// Constants of <linux/mount.h> that the libc crate does not have for every target.
const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const AT_EMPTY_PATH: libc::c_uint = 0x1000;

/// `struct mount_attr` of <linux/mount.h>.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Returns a detached copy of the mount tree at `path`, or of the single file there.
pub fn clone_tree(directory: Option<BorrowedFd<'_>>, path: &Path) -> nix::Result<OwnedFd> {
    let directory = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    let fd = path.with_nix_path(|path| {
        // SAFETY: `path` is a string that ends with a zero byte.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_open_tree, directory, path.as_ptr(), flags)
        })
    })??;
    Ok(owned(fd))
}

/// Sets attributes (`MOUNT_ATTR_*`) on a whole mount tree.
pub fn set_attributes(tree: BorrowedFd<'_>, set: u64) -> nix::Result<()> {
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = AT_EMPTY_PATH | AT_RECURSIVE;
    // SAFETY: the path is a string, and the structure has the given size.
    Errno::result(unsafe {
        let size = size_of::<MountAttributes>();
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size,
        )
    })?;
    Ok(())
}

/// Attaches a detached mount tree at `path` under `directory`.
pub fn attach(
    tree: BorrowedFd<'_>,
    directory: Option<BorrowedFd<'_>>,
    path: &Path,
) -> nix::Result<()> {
    let directory = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    path.with_nix_path(|path| {
        // SAFETY: both paths are strings that end with a zero byte.
        Errno::result(unsafe {
            let (from, to) = (tree.as_raw_fd(), path.as_ptr());
            libc::syscall(
                libc::SYS_move_mount,
                from,
                c"".as_ptr(),
                directory,
                to,
                MOVE_MOUNT_F_EMPTY_PATH,
            )
        })
    })??;
    Ok(())
}

/// Returns a new, detached file system with options and attributes (`MOUNT_ATTR_*`).
pub fn new_mount(
    kind: &CStr,
    options: &[(&CStr, String)],
    attributes: u64,
) -> nix::Result<OwnedFd> {
    // SAFETY: `kind` is a string.
    let context = owned(Errno::result(unsafe {
        libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC)
    })?);
    let context = context.as_raw_fd();
    for (key, value) in options {
        let value = CString::new(value.as_str()).map_err(|_| Errno::EINVAL)?;
        // SAFETY: key and value are strings.
        Errno::result(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context,
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        })?;
    }
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes no key and no value.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nothing, nothing, 0)
    })?;
    // SAFETY: no pointers are passed.
    let mount = Errno::result(unsafe {
        libc::syscall(libc::SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes)
    })?;
    Ok(owned(mount))
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor, and nothing else knows it. Descriptors fit
    // an `int`.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}
