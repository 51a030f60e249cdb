//! The driver and its session, in a cell that is only a process namespace in a directory of the
//! host. The walls between programs and host belong to the backends, and are tested there.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bare;
mod calls;
mod faults;
mod fuzz;
mod hostile;
mod liar;
mod relays;
mod sessions;

mod conformance {
    cellblock_conformance::conformance!(crate::bare::Bare);
}
