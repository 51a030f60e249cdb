//! Saved chats while they are resumed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_agents::oracles::resumed_chat(bytes));
