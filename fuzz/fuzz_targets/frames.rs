//! Output of a container, as a Docker engine sends it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_docker::oracles::attached(bytes));
