//! Time of one pass of the dispatcher's decisions, from `crates/fleet/examples/passes.rs`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::report::{Limit, Row};
use super::spread::Spread;

/// Busy VMs, queued jobs, and the longest time of a pass in milliseconds.
const FLEETS: [(u32, u32, f64); 3] = [(10_000, 1_000, 50.0), (200, 20, 1.0), (200, 1_000, 1.0)];
/// Passes of each fleet.
const PASSES: usize = 50;

/// Measures passes of fleets of different sizes.
pub(super) fn measure(program: &Path) -> Result<Vec<Row>> {
    FLEETS.into_iter().map(|(vms, jobs, most)| row(program, vms, jobs, most)).collect()
}

fn row(program: &Path, vms: u32, jobs: u32, most: f64) -> Result<Row> {
    let words = [vms.to_string(), jobs.to_string()];
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let mut fleet = Fleet {
        questions: child.stdin.take().context("no standard input")?,
        answers: BufReader::new(child.stdout.take().context("no standard output")?),
    };
    let mut times = Vec::new();
    for _ in 0..PASSES {
        fleet.ask("lists")?;
        let began = Instant::now();
        fleet.ask("pass")?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    drop(fleet);
    child.wait().context("waiting for the measured program")?;
    Ok(Row {
        what: format!("pass over {vms} busy VMs and {jobs} queued jobs"),
        subject: "the fleet, explanations included",
        unit: "ms",
        spread: Spread::of(&times).context("nothing was measured")?,
        to_go: None,
        to_built_in: None,
        limit: Some(Limit::AtMost(most)),
    })
}

/// A fleet in a process of its own, which holds no clock.
struct Fleet {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Fleet {
    fn ask(&mut self, question: &str) -> Result<()> {
        writeln!(self.questions, "{question}").context("asking the measured program")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).context("reading the answer of the measured program")?;
        let count: usize = answer.trim().parse().context("the measured program has failed")?;
        std::hint::black_box(count);
        Ok(())
    }
}
