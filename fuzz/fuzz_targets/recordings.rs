//! Recordings of models' answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_models::oracles::recording(bytes));
