//! The guest's file system: in memory, with nothing of the host in it.
//!
//! It is a [tree](tree) of inodes that the session owns, with read-only [layers](layer) mounted
//! into it: the standard library and installed packages. [`calls`](crate::calls) translates the
//! WASI preview 1 calls to it. All of it, open descriptors included, is plain data, so that it can
//! be cloned for a fork and stored in a memory image.
//!
//! Every amount that a guest controls has a maximum here or a quota in [`Fs`]: bytes, files,
//! descriptors, the length of paths, the number of links followed, the vectors in one call.

pub mod abi;
mod artifacts;
#[cfg(any(test, feature = "oracles"))]
mod audit;
mod change;
mod content;
pub mod descriptors;
mod inode;
mod layer;
mod open;
pub mod path;
mod tree;

pub use abi::Errno;
pub use artifacts::WORKSPACE;
pub use inode::{Device, InodeKind, Node};
pub use layer::Layer;
pub use tree::{Fs, Quota};

/// The control device: the guest's driver reads its block there and writes how a turn ended.
pub const CONTROL: &str = "/dev/cellblock";
