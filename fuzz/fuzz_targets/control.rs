//! The control device of a WebAssembly guest.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_wasi::oracles::control(bytes));
