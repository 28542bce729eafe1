//! Measures the simulators with `sim/control/examples/measure.rs`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;

use super::report::{Limit, Row};
use super::spread::Spread;

/// Number of starts of both simulators.
const STARTS: usize = 20;
/// Number of requests to each path, in each of three rounds.
const REQUESTS: &str = "5000";
const TIMES: usize = 3;
/// Numbers of nodes and VMs of the cluster whose lists are requested.
const NODES: &str = "100";
const VMS: &str = "10000";
/// Path of each list, and its name in the measuring program.
const LISTS: [(&str, &str); 5] = [
    ("GET /cluster/resources", "resources"),
    ("GET /cluster/resources?type=vm", "vms"),
    ("GET /nodes/{node}/qemu", "node_vms"),
    ("GET /nodes", "nodes"),
    ("GET /cluster/tasks", "tasks"),
];

/// Measures the simulators. `lives` is the number of VM lives on virtual time.
pub(super) fn measure(program: &Path, lives: u32) -> Result<Vec<Row>> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        ask(program, &["start"])?;
        starts.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let start = row("start from cold, and end", "both simulators", "ms", &starts)?;
    let mut rows = vec![Row { limit: Some(Limit::AtMost(300.0)), ..start }];

    let answers = (0..TIMES).map(|_| ask(program, &["front", REQUESTS])).collect::<Result<Vec<_>>>()?;
    for (subject, key) in [("GET /version", "version"), ("GET …/qemu/{vmid}/status/current", "status")] {
        rows.push(row(
            "front of the PVE simulator, 8 clients, HTTPS",
            subject,
            "requests/s",
            &numbers(&answers, key)?,
        )?);
    }
    let lived = [ask(program, &["lives", &lives.to_string()])?];
    let what = format!("{lives} VM lives on virtual time, one thread");
    rows.push(row(
        &what,
        "clone, configure, run, remove",
        "lives/s of a core",
        &numbers(&lived, "per_processor_second")?,
    )?);
    rows.extend(lists(program)?);
    Ok(rows)
}

/// Measures the lists of a large cluster.
fn lists(program: &Path) -> Result<Vec<Row>> {
    let took = ask(program, &["lists", NODES, VMS])?;
    let what = format!("list of a cluster of {NODES} nodes and {VMS} VMs, HTTPS");
    let of = |(subject, key)| {
        let times: Vec<f64> =
            serde_json::from_value(took[key].clone()).with_context(|| format!("no times of {key}"))?;
        Ok(Row { limit: Some(Limit::AtMost(50.0)), ..row(&what, subject, "ms", &times)? })
    };
    LISTS.into_iter().map(of).collect()
}

fn numbers(answers: &[Json], key: &str) -> Result<Vec<f64>> {
    answers.iter().map(|answer| answer[key].as_f64().with_context(|| format!("no number {key}"))).collect()
}

fn row(what: &str, subject: &'static str, unit: &'static str, measured: &[f64]) -> Result<Row> {
    let spread = Spread::of(measured).context("nothing was measured")?;
    Ok(Row { what: what.to_owned(), subject, unit, spread, to_go: None, to_built_in: None, limit: None })
}

fn ask(program: &Path, words: &[&str]) -> Result<Json> {
    let output =
        Command::new(program).args(words).output().with_context(|| format!("starting {}", program.display()))?;
    let reported = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "measure {}: {}", words.join(" "), reported.trim());
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what measure {} says", words.join(" ")))
}
