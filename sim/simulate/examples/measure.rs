//! Measures the dispatcher and prints JSON on standard output. `cargo xtask bench fleet` builds this with optimisations and reads
//! it.
//!
//! ```text
//! measure burst JOBS STORAGES NODES      a burst of jobs on virtual time
//! measure series JOBS                    commits for jobs one after another, on virtual time
//! measure lost VMS REPOSITORIES          requests after a lost ledger, on virtual time
//! measure program PATH VMS RESTARTS      memory and restarts of the dispatcher's program
//! ```

use std::path::Path;

use anyhow::bail;
use serde_json::{Value, json};
use simulate::measure;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let reported = match words.as_slice() {
        ["burst", jobs, storages, nodes] => burst(&measure::burst(jobs.parse()?, storages.parse()?, nodes.parse()?)?),
        ["series", jobs] => series(&measure::series(jobs.parse()?)?),
        ["lost", vms, repositories] => lost(&measure::lost(vms.parse()?, repositories.parse()?)?),
        ["program", path, vms, restarts] => {
            program(&measure::program(Path::new(path), vms.parse()?, restarts.parse()?)?)
        }
        _ => bail!(
            "usage: measure burst JOBS STORAGES NODES | series JOBS | lost VMS REPOSITORIES | program PATH VMS RESTARTS"
        ),
    };
    println!("{reported}");
    Ok(())
}

fn burst(measured: &measure::Burst) -> Value {
    json!({
        "took": measured.took,
        "alone": measured.alone,
        "least": measured.least,
        "failures": measured.failures,
        "most_workers": measured.most_workers,
        "commits": measured.commits,
        "synchronised": measured.synchronised,
    })
}

fn series(measured: &measure::Series) -> Value {
    json!({ "commits": measured.commits, "synchronised": measured.synchronised })
}

fn lost(measured: &measure::Lost) -> Value {
    json!({
        "took": measured.took,
        "pve_requests": measured.pve_requests,
        "github_requests": measured.github_requests,
        "github_limited": measured.github_limited,
        "harmed": measured.harmed,
    })
}

fn program(measured: &measure::Measured) -> Value {
    json!({
        "peak": measured.peak,
        "resident": measured.resident,
        "restarted_peaks": measured.restarted_peaks,
        "restarts": measured.restarts,
        "pve_requests": measured.pve_requests,
        "github_requests": measured.github_requests,
    })
}
