//! Saved chats, as they go on.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_agents::oracles::resumed_chat(bytes));
