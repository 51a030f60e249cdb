//! Tests of cells as a caller of the library sees them.

#![allow(clippy::unwrap_used)]

mod attacks;
mod conformance;
mod ladder;
mod packages;
mod remains;
mod unprivileged;
mod walls;
