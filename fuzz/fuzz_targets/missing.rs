//! Packages that an error message asks for.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_answer::oracles::missing_packages(text));
