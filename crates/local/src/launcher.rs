//! The launcher: a small process of its own that makes cells and cleans up after them.
//!
//! After a fork, a program with threads must do no more than start another program, but making a
//! cell takes much more. And the clean-up must outlive a host that is killed. So the first thing an
//! executor does is to start its own program again as the launcher, which never reaches `main` (see
//! `sys/entry.rs`). The launcher has one thread, and ends with its host.
//!
//! `client.rs` is the host's side; all other files run in the launcher and its children.

mod cells;
pub mod client;
mod directory;
pub mod keep;
mod remains;
mod serve;
mod spare;
mod system;
mod tree;
mod trim;
