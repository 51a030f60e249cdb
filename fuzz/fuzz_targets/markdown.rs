//! Markdown with code blocks.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| cellblock_answer::oracles::markdown(text));
