//! Packages that an error asks for.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_exec::oracles::missing_packages(text));
