//! Tests of cells, as a caller of the library sees them.

#![allow(clippy::unwrap_used)]

mod attacks;
mod cells;
mod conformance;
mod evasion;
mod levels;
mod packages;
mod random_ends;
mod remains;
mod traces;
mod unprivileged;
mod walls;
