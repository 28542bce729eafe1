//! The checked-in compact form of PVE's schema is that of the published one.

use std::path::PathBuf;

#[test]
fn the_compact_schema_is_current() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("PXCI_SHARED").map_or(beside, PathBuf::from).join("pve/api-schema-9.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("not run: comparison with PVE's API schema (no {})", path.display());
        return;
    };
    let full: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let kept: serde_json::Value = serde_json::from_str(include_str!("../data/pve-schema-9.json")).expect("JSON");
    assert!(
        sim::pve::schema::compact(&full) == kept,
        "run: cargo run -p pxci-sim --example pve_schema -- <api-schema-9.json> crates/sim/data/pve-schema-9.json"
    );
}
