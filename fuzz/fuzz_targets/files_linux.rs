//! The same operations on the file system in memory and on Linux.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_wasi::oracles::file_system_as_linux(bytes));
