//! The replay of the recordings of a real server, if they are available.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Returns `PXCI_SHARED`, or the directory next to the checkout.
fn shared() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("PXCI_SHARED").map_or(beside, PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_answers_as_recorded() {
    let mut undeclared = BTreeSet::new();
    let mut not_replayed = Vec::new();
    for name in ["recordings", "recordings-2"] {
        let directory = shared().join("pve").join(name);
        if !directory.is_dir() {
            println!("not run: recordings of a real server (no {})", directory.display());
            return;
        }
        // On virtual time a busy machine has no influence.
        let report = sim_replay::run(&directory).await.expect("a replay");
        println!("{report}");
        assert!(report.is_conformant(), "the simulator differs from {name} in ways that are not accepted");
        undeclared.extend(report.recorded_undeclared().iter().cloned());
        not_replayed.extend(report.not_replayed().map(|(file, _)| file.to_owned()));
    }
    assert_eq!(not_replayed, ["15-firewall"]);
    let listed = include_str!("../data/answer-deviations.txt");
    for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(undeclared.contains(line), "the real server was not seen to answer so: {line}");
    }
}
