//! Requirements and the install policy.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_answer::oracles::requirement(text));
