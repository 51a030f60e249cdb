//! Messages of the host to a cell.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_driver::oracles::posted(bytes));
