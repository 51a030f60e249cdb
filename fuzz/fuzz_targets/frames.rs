//! What a Docker engine sends for a container's output.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cellblock_docker::oracles::attached(bytes));
