//! Messages of a cell to the host.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_driver::oracles::received(bytes));
