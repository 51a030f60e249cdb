//! Control groups: the kernel counts and limits memory, processes and processor time.
//!
//! Version 1 has a hierarchy for each controller, version 2 has one for all, and a machine may mix
//! them. When the launcher starts, it tries to make a group in each hierarchy, and uses those where
//! that works.

mod find;
mod group;
mod hierarchy;

pub use find::find;
pub use group::{enter, kill, limit, make, names, oom_kills, oom_kills_in, remove};
pub use hierarchy::{Controller, Hierarchy, counts};
