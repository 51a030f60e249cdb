//! The tests of the crate, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod run;
mod text;
