//! Objects that a guest asks to make immortal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_wasi::oracles::immortal_objects(bytes));
