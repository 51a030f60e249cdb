//! Conversations as a caller of the library sees them: the conformance cases of AutoGen 0.2, its defects that we leave behind,
//! and what we promise besides.
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
