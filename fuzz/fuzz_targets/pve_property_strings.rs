#![no_main]
//! See `crates/fuzz-targets`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_targets::run("pve_property_strings", input));
