//! Conversations as a caller of the library sees them: the conformance cases of AutoGen 0.2, its
//! defects, which do not exist here, and the promises of this library.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod autogen;
mod cast;
mod code;
mod defects;
mod events;
mod fake;
mod groups;
mod guards;
mod people;
mod saved;
mod spans;
mod tools;
