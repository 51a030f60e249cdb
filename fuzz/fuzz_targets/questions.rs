//! Questions of a program to the host.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_exec::oracles::question(bytes));
