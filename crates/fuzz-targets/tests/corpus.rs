//! Replays what the fuzzer once found worth keeping, and holds the list of targets together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_input_that_was_kept_still_passes() {
    for (name, target) in TARGETS {
        let directory = fuzz().join("corpus").join(name);
        let inputs = names_in(&directory);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            let bytes = fs::read(directory.join(&input)).expect("read");
            let passed = std::panic::catch_unwind(|| target(&bytes));
            assert!(passed.is_ok(), "{name} fails with fuzz/corpus/{name}/{input}");
        }
    }
}

#[test]
fn each_target_has_a_file_and_a_program() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known.len(), TARGETS.len(), "a name is there twice");
    let files = names_in(&fuzz().join("fuzz_targets"));
    assert_eq!(files.iter().map(|file| file.trim_end_matches(".rs").to_owned()).collect::<BTreeSet<_>>(), known);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("manifest");
    for name in &known {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is not a program of fuzz/Cargo.toml"
        );
        let file = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).expect("file");
        assert!(file.contains(&format!("fuzz_targets::run(\"{name}\", input)")), "{name} runs another target");
    }
    let corpora = names_in(&fuzz().join("corpus"));
    assert_eq!(corpora, known, "a corpus without a target, or the reverse");
}
