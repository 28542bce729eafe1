//! Measures the production dispatcher with `sim/simulate/examples/measure.rs`: bursts, commits, a lost ledger, memory and restarts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;

use super::report::{Limit, Row};
use super::spread::Spread;

/// Jobs of a burst.
const BURST: &str = "100";
/// Storages and nodes of the farms that get a burst.
const FARMS: [(&str, &str); 3] = [("1", "1"), ("3", "1"), ("3", "3")];
/// Greatest ratio of a burst's time to the least time that the locks of the storages permit.
const TO_LEAST: f64 = 1.1;
/// Jobs one after another.
const SERIES: &str = "50";
/// VMs of the dispatchers that lose their ledger or restart.
const VMS: &str = "200";
/// Repositories of the dispatcher that loses its ledger.
const REPOSITORIES: &str = "50";
const RESTARTS: &str = "5";
const PROGRAM: &str = "pxci-dispatcher, release, glibc";
const DISPATCHER: &str = "the dispatcher, on virtual time";

/// Measures the dispatcher. `program` is its own program.
pub(super) fn measure(measuring: &Path, program: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (storages, nodes) in FARMS {
        rows.extend(burst(measuring, storages, nodes)?);
    }
    let series = ask(measuring, &["series", SERIES])?;
    rows.extend(commits(&format!("{SERIES} jobs one after another"), &series)?);
    rows.extend(lost(measuring)?);
    rows.extend(of_program(measuring, program)?);
    Ok(rows)
}

fn burst(measuring: &Path, storages: &str, nodes: &str) -> Result<Vec<Row>> {
    let measured = ask(measuring, &["burst", BURST, storages, nodes])?;
    let name = format!("burst of {BURST} jobs, storages: {storages}, nodes: {nodes}");
    let most = TO_LEAST * number(&measured, "least")?;
    let row = |what: &str, unit, key, limit| row(&format!("{name}: {what}"), unit, &measured, key, Some(limit));
    let mut rows = vec![
        row("from the first clone to the start of the last job", "s", "took", Limit::AtMost(most))?,
        row("failed tasks and jobs", "number", "failures", Limit::AtMost(0.0))?,
        row("daemon workers of a node held at a time", "of three", "most_workers", Limit::AtMost(2.0))?,
    ];
    rows.extend(commits(&name, &measured)?);
    Ok(rows)
}

fn commits(name: &str, measured: &Json) -> Result<Vec<Row>> {
    let what = |kind: &str| format!("{name}: {kind}");
    Ok(vec![
        row(&what("commits with an fsync"), "per job", measured, "synchronised", Some(Limit::AtMost(4.0)))?,
        row(&what("all commits"), "per job", measured, "commits", None)?,
    ])
}

fn lost(measuring: &Path) -> Result<Vec<Row>> {
    let measured = ask(measuring, &["lost", VMS, REPOSITORIES])?;
    let (vms, repositories): (f64, f64) = (VMS.parse()?, REPOSITORIES.parse()?);
    let name = format!("lost ledger, {VMS} busy VMs of {REPOSITORIES} repositories");
    let row = |what: &str, unit, key, limit| row(&format!("{name}: {what}"), unit, &measured, key, limit);
    Ok(vec![
        row("jobs harmed", "number", "harmed", Some(Limit::AtMost(0.0)))?,
        row("requests to Proxmox VE", "number", "pve_requests", Some(Limit::AtMost(LOST_PVE_PER_VM * vms + LOST_PVE)))?,
        row("requests to GitHub", "number", "github_requests", None)?,
        row(
            "requests that GitHub counts",
            "number",
            "github_limited",
            Some(Limit::AtMost(vms + LOST_GITHUB_PER_REPOSITORY * repositories)),
        )?,
        row("until all VMs are known again", "s", "took", None)?,
    ])
}

/// Requests to Proxmox VE that a lost ledger may cost: for each VM its configuration, the proof, and the guest's answer; for each
/// VMID of the range one; and those of the usual polls.
const LOST_PVE_PER_VM: f64 = 6.0;
const LOST_PVE: f64 = 1_000.0 + 100.0;
/// Requests to GitHub that a lost ledger may cost for each repository, in addition to one for each VM.
const LOST_GITHUB_PER_REPOSITORY: f64 = 10.0;

fn of_program(measuring: &Path, program: &Path) -> Result<Vec<Row>> {
    let program = program.to_str().context("the path of the dispatcher's program is not text")?;
    let measured = ask(measuring, &["program", program, VMS, RESTARTS])?;
    let memory = |what: &str, key, limit| -> Result<Row> {
        let mebibytes: Vec<f64> = numbers(&measured, key)?.into_iter().map(|kibibytes| kibibytes / 1024.0).collect();
        of(&format!("memory with {VMS} VMs, {what}"), PROGRAM, "MiB", &mebibytes, limit)
    };
    let restart = |what: &str, unit, key, limit| -> Result<Row> {
        of(&format!("restart with {VMS} VMs, {what}"), PROGRAM, unit, &numbers(&measured, key)?, limit)
    };
    let most = Some(Limit::AtMost(20.0));
    Ok(vec![
        memory("resident half a minute after the last one was made", "resident", most)?,
        memory("peak while they were made", "peak", most)?,
        memory("peak of a restart", "restarted_peaks", most)?,
        restart("until all are known after one poll of everything", "s", "restarts", Some(Limit::AtMost(3.0)))?,
        restart("requests to Proxmox VE until then", "number", "pve_requests", None)?,
        restart("requests to GitHub until then", "number", "github_requests", None)?,
    ])
}

fn row(what: &str, unit: &'static str, measured: &Json, key: &str, limit: Option<Limit>) -> Result<Row> {
    of(what, DISPATCHER, unit, &[number(measured, key)?], limit)
}

fn of(what: &str, subject: &'static str, unit: &'static str, measured: &[f64], limit: Option<Limit>) -> Result<Row> {
    let spread = Spread::of(measured).context("nothing was measured")?;
    Ok(Row { what: what.to_owned(), subject, unit, spread, to_go: None, to_built_in: None, limit })
}

fn number(measured: &Json, key: &str) -> Result<f64> {
    measured[key].as_f64().with_context(|| format!("no number {key}"))
}

/// Returns one number or several.
fn numbers(measured: &Json, key: &str) -> Result<Vec<f64>> {
    match &measured[key] {
        Json::Array(list) => {
            list.iter().map(|item| item.as_f64().with_context(|| format!("no numbers {key}"))).collect()
        }
        _ => Ok(vec![number(measured, key)?]),
    }
}

fn ask(measuring: &Path, words: &[&str]) -> Result<Json> {
    let output =
        Command::new(measuring).args(words).output().with_context(|| format!("starting {}", measuring.display()))?;
    let reported = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "measure {}: {}", words.join(" "), reported.trim());
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what measure {} says", words.join(" ")))
}
