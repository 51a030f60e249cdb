//! Recordings of exchanges with models.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_models::oracles::recording(bytes));
