//! The recordings of a real server, replayed, where they are at hand.

use std::path::PathBuf;

/// `PXCI_SHARED`, else beside the checkout.
fn shared() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("PXCI_SHARED").map_or(beside, PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_answers_as_recorded() {
    let directory = shared().join("pve/recordings");
    if !directory.is_dir() {
        println!("not run: recordings of a real server (no {})", directory.display());
        return;
    }
    // Virtual time: how busy this machine is cannot show.
    let report = sim::pve::conformance::run(&directory).await.expect("a replay");
    println!("{report}");
    let listed = include_str!("../data/answer-deviations.txt");
    for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(report.recorded_undeclared().contains(line), "the real server was not seen to answer so: {line}");
    }
    assert!(report.is_conformant(), "the simulator differs from the recordings in ways that are not accepted");
}
