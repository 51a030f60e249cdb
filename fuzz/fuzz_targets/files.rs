//! Operations on the file system in memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_wasi::oracles::file_system(bytes));
