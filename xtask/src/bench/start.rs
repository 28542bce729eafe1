//! Measures the time from the start of a provider's process to its handshake line, with a client certificate like those
//! of cores.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::programs::Programs;
use super::report::{Limit, Row};
use super::spread::{Spread, ratio};
use super::subject;

/// A certificate like those that go-plugin creates for every provider that it starts. Its key does not exist.
const CERTIFICATE: &str = include_str!("client.pem");

pub(super) fn measure(programs: &Programs, times: u32) -> Result<Vec<Row>> {
    let sockets = tempfile::tempdir().context("creating a directory for sockets")?;
    let subjects = [
        (subject::SHELF, &programs.shelf, Some(3.0)),
        (subject::PXCI, &programs.pxci, Some(5.0)),
        (subject::PAPER, &programs.paper, None),
        (subject::GO, &programs.go, None),
    ];
    let mut measured = subjects.map(|_| Vec::new());
    for (_, program, _) in &subjects {
        // The first start reads the program from the disk, so it does not count.
        start(program, sockets.path())?;
    }
    for _ in 0..times {
        for ((_, program, _), measured) in subjects.iter().zip(&mut measured) {
            measured.push(start(program, sockets.path())?.as_secs_f64() * 1000.0);
        }
    }
    let go = measured[subjects.len() - 1].clone();
    let rows = subjects.iter().zip(&measured).filter_map(|((name, _, limit), measured)| {
        Some(Row {
            what: "start to handshake, with a client certificate".to_owned(),
            subject: name,
            unit: "ms",
            spread: Spread::of(measured)?,
            to_go: ratio(measured, &go),
            to_built_in: None,
            limit: limit.map(Limit::AtMost),
        })
    });
    Ok(rows.collect())
}

fn start(program: &Path, sockets: &Path) -> Result<Duration> {
    let mut command = Command::new(program);
    command
        .env("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
        .envs([("PLUGIN_PROTOCOL_VERSIONS", "5,6"), ("PLUGIN_MIN_PORT", "10000"), ("PLUGIN_MAX_PORT", "25000")])
        .env("PLUGIN_CLIENT_CERT", CERTIFICATE)
        .env("PLUGIN_UNIX_SOCKET_DIR", sockets)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let began = Instant::now();
    let mut running = Running(command.spawn().with_context(|| format!("starting {}", program.display()))?);
    let output = running.0.stdout.take().context("a provider without standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("reading the handshake")?;
    let took = began.elapsed();
    ensure!(
        line.starts_with("1|6|unix|") && line.trim_end().rsplit('|').next().is_some_and(|part| part.len() > 100),
        "{} answered without a certificate, or not at all: {line:?}",
        program.display()
    );
    Ok(took)
}

/// A running provider, which is killed when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both calls only fail if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
