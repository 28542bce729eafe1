#![no_main]
//! See `crates/fuzz-targets`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_targets::run("provider_messagepack", input));
