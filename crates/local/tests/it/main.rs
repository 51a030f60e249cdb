//! Tests of cells, as a caller of the library sees them.

#![allow(clippy::unwrap_used)]

mod attacks;
mod cells;
mod conformance;
mod levels;
mod packages;
mod remains;
mod unprivileged;
mod walls;
