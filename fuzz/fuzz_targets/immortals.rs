//! Objects that a guest wants to be immortal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_wasi::oracles::immortal_objects(bytes));
