//! Install commands in blocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_answer::oracles::install_commands(text));
