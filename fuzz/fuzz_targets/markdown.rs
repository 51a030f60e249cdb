//! Markdown with code blocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_exec::oracles::markdown(text));
