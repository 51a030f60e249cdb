//! System calls that no safe wrapper covers. All unsafe code of the crate is here.
//!
//! The constructor in `entry` is not among the names below: it calls the launcher, which calls the
//! other files of this module.
#![allow(unsafe_code)]

pub mod entry;
mod message;
mod mount;
mod network;
mod process;

pub use message::{receive, send};
pub use mount::{attach, clone_tree, new_mount, set_attributes};
pub use network::{add_address, raise_loopback};
pub use process::{
    as_user, close_from, drop_bounding_set, drop_capabilities, fork, landlock_version,
    mark_close_on_exec_from, open_process, reset_signals, signal_process,
};
