//! Calls to the system that no safe wrapper covers. All unsafe code of the crate is here.
#![allow(unsafe_code)]

mod entry;
mod message;
mod mount;
mod network;
mod process;

pub(crate) use entry::{MARKER, keep_entry};
pub(crate) use message::{receive, send};
pub(crate) use mount::{attach, clone_tree, new_mount, set_attributes};
pub(crate) use network::{add_address, raise_loopback};
pub(crate) use process::{
    Forked, as_user, close_from, drop_bounding_set, drop_capabilities, exit, fork_into,
    landlock_version, mark_close_on_exec_from, open_process, reset_signals, signal_process,
};

use nix::errno::Errno;

/// The result of a raw call, by its convention: -1 and `errno`, or a value.
fn checked(result: libc::c_long) -> nix::Result<libc::c_long> {
    Errno::result(result)
}
