//! The checked-in compact forms of PVE's schema are those of the published one.

use std::path::PathBuf;

fn shared() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("PXCI_SHARED").map_or(beside, PathBuf::from)
}

#[test]
fn the_compact_schemas_are_current() {
    for (line, kept) in [(8, include_str!("../data/pve-schema-8.json")), (9, include_str!("../data/pve-schema-9.json"))]
    {
        let path = shared().join(format!("pve/api-schema-{line}.json"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("not run: comparison with PVE's API schema (no {})", path.display());
            continue;
        };
        let full: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let kept: serde_json::Value = serde_json::from_str(kept).expect("JSON");
        assert!(
            sim_pve::schema::compact(&full) == kept,
            "run: cargo run -p pxci-sim-pve --example schema -- <api-schema-{line}.json> sim/pve/data/pve-schema-{line}.json"
        );
    }
}
