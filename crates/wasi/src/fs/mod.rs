//! The file system that a guest sees: in memory, its own, with nothing of the host in it.
//!
//! A tree of inodes that the session owns ([`tree`]), onto which read-only layers are mounted ([`layer`]): the standard
//! library and installed packages. [`calls`] puts the WASI preview 1 calls in front of it. The whole of it, open
//! descriptors included, is plain data: it can be cloned for a fork and stored in a memory image.
//!
//! Every amount that a guest controls has a cap here or a quota in [`Fs`]: bytes, files, descriptors, path lengths, links
//! followed, vectors in one call.

pub(crate) mod abi;
mod artifacts;
pub(crate) mod calls;
mod descriptors;
mod layer;
#[cfg(any(test, feature = "oracles"))]
pub(crate) mod oracles;
mod path;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use abi::Errno;
pub(crate) use layer::Layer;
pub(crate) use tree::{Device, Fs, Quota};

/// Where the workspace is in the guest; the directory in which a program starts.
pub(crate) const WORKSPACE: &str = "/workspace";

/// The guest writes here how a turn ended.
pub(crate) const CONTROL: &str = "/dev/cellblock";
