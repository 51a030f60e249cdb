//! Paths into a workspace.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_exec::oracles::file_name(text));
