//! Saved chats while they are parsed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_agents::oracles::saved_chat(bytes));
