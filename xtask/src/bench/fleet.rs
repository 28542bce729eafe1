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
    let rows = FLEETS.into_iter().map(|(vms, jobs, most)| rows(program, vms, jobs, most));
    Ok(rows.collect::<Result<Vec<_>>>()?.concat())
}

/// Returns the time of a pass, and its processor time, which other programs on the machine hardly change.
fn rows(program: &Path, vms: u32, jobs: u32, most: f64) -> Result<Vec<Row>> {
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
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        fleet.ask("lists")?;
        let (began, used) = (Instant::now(), processor_time(child.id())?);
        fleet.ask("pass")?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        processor.push((processor_time(child.id())? - used) * 1000.0);
    }
    drop(fleet);
    child.wait().context("waiting for the measured program")?;
    let row = |subject, measured: &[f64]| -> Result<Row> {
        Ok(Row {
            what: format!("pass over {vms} busy VMs and {jobs} queued jobs, explanations included"),
            subject,
            unit: "ms",
            spread: Spread::of(measured).context("nothing was measured")?,
            to_go: None,
            to_built_in: None,
            limit: Some(Limit::AtMost(most)),
        })
    };
    Ok(vec![row("time", &times)?, row("processor time", &processor)?])
}

/// Returns the processor time of a process with one thread, in seconds.
fn processor_time(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/schedstat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    Ok(nanoseconds.with_context(|| format!("{path} is not as expected"))? / 1e9)
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
