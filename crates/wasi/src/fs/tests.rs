//! Tests of the file system through its WASI calls.

mod differential;
mod guest;
mod operations;
