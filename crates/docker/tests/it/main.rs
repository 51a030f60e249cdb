//! The executor on a real engine, and what can be tested without one.
//!
//! Without an engine, tests that need one fail if `CELLBLOCK_REQUIRE_DOCKER=1`, and otherwise say
//! that they are skipped. The image `docker-python` is made if the engine does not have it, which
//! takes a minute or two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod conformance;
mod connect;
mod engine;
mod flags;
mod image;
mod kills;
mod memory;
mod packages;
mod pool;
mod session;
mod sweep;
