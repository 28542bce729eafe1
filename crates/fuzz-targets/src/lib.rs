//! Everything that decodes bytes from outside, as functions that panic when a promise is broken.
//!
//! `fuzz/` feeds them with what a fuzzer thinks up; the test of this crate feeds them with the corpus kept there. They
//! are apart from `fuzz/` because that needs a compiler with sanitizers, and this must run with every other test.

mod cloud;
mod guests;
mod terminal;

/// One target: any bytes in, a panic if something is wrong.
pub type Target = fn(&[u8]);

/// All targets, by the name of their file in `fuzz/fuzz_targets` and of their directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("provider_messagepack", tf_provider::fuzzing::messagepack),
    ("provider_stored_state", tf_provider::fuzzing::stored_state),
    ("provider_environment", tf_provider::fuzzing::environment),
    ("provider_signature", tf_provider::fuzzing::signature),
    ("pve_answers", guests::answers),
    ("pve_words", guests::words),
    ("pve_property_strings", guests::properties),
    ("ownership_marker", guests::marker),
    ("ownership_names", guests::names),
    ("console_frames", terminal::frames),
    ("console_round_trip", terminal::round_trip),
    ("cloudinit_check", cloud::check),
    ("cloudinit_render", cloud::render),
];

/// Runs one target; for `fuzz/`.
///
/// # Panics
/// When there is no target of this name, or a promise is broken.
pub fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("no target {name:?}"));
    target(input);
}
