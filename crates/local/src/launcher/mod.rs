//! The launcher: a small process of its own that makes cells and cleans up after them.
//!
//! A program with threads must not do more than start another after a fork; a cell takes much more. And who cleans up
//! must outlive a host that is killed. So the first thing an executor does is to start its own program again as the
//! launcher, which never reaches `main` (see the constructor in `sys`). It has one thread, and it ends with its host.

mod cells;
mod client;
pub(crate) mod directory;
mod ending;
mod keep;
mod remains;
mod serve;
pub(crate) mod system;
pub(crate) mod tree;
pub(crate) mod wire;

pub(crate) use client::Launcher;
pub(crate) use keep::main;
