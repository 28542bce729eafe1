//! Measures the peak memory of a provider: `VmHWM`, the peak of its resident set as the kernel counts it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use farm::harness::Core;
use farm::mirror::SOURCE;
use farm::simulation::{Farm, Guests};
use tempfile::TempDir;

use super::configurations::{ConfigurationPair, Provider, Subject};
use super::plans;
use super::programs::Programs;
use super::report::{Limit, Row};
use super::spread::Spread;
use super::subject;

/// Pause between two reads of a process' numbers. They vanish when the process ends, so the pause is short.
const INTERVAL: Duration = Duration::from_millis(2);

/// Returns the greatest peak among the processes of an apply and a plan of this many resources.
pub(super) async fn measure(core: &Core, programs: &Programs, resources: u32) -> Result<Vec<Row>> {
    let mut peaks = Vec::new();
    for mut subject in plans::subjects(programs) {
        let Some(notes) = Notes::of(&mut subject)? else { continue };
        peaks.push((subject.name, peak(&ConfigurationPair::lay_out(core, &subject, resources)?, notes).await?));
    }
    peaks.push((subject::PXCI, peak_of_pxci(core, &programs.pxci, resources).await?));
    let go = peaks.iter().find(|(name, _)| *name == subject::GO).map(|(_, peak)| *peak);
    let rows = peaks.into_iter().map(|(name, peak)| Row {
        what: format!("peak memory, {resources} resources"),
        subject: name,
        unit: "MiB",
        spread: Spread::once(peak),
        to_go: go.map(|go| peak / go),
        to_built_in: None,
        limit: match name {
            subject::SHELF => Some(Limit::AtMost(12.0)),
            subject::PXCI => Some(Limit::AtMost(20.0)),
            _ => None,
        },
    });
    Ok(rows.collect())
}

async fn peak_of_pxci(core: &Core, program: &Path, resources: u32) -> Result<f64> {
    let mut subject = Subject {
        name: subject::PXCI,
        provider: Some(Provider { source: SOURCE, program: program.to_owned(), block: "" }),
        resource: "pxci_cloudinit_snippet",
        arguments: "  name = \"it-${count.index}\"\n  storage = \"local\"\n  \
                    user_data = \"#cloud-config\\nhostname: it-${count.index}\\n\"",
    };
    let notes = Notes::of(&mut subject)?.context("a provider without a program")?;
    let farm = Farm::simulated(Guests::Scripted).await?;
    let mut site = ConfigurationPair::lay_out(core, &subject, resources)?;
    for (name, value) in farm.provider_environment(site.path())? {
        site.set(&name, &value);
    }
    peak(&site, notes).await
}

/// Applies and plans, and returns the peak in MiB.
async fn peak(site: &ConfigurationPair, notes: Notes) -> Result<f64> {
    let watch = Watch::start(notes.file());
    let done = async {
        site.applied.apply().await?;
        site.applied.run(&["plan", "-no-color"]).await?.succeeded()
    };
    let done = done.await;
    let peak = watch.end()?;
    done?;
    ensure!(peak > 0, "{}: no process of the provider was seen", site.name);
    Ok(peak as f64 / 1024.0)
}

/// A directory in which each process of a provider writes its id.
struct Notes(TempDir);

impl Notes {
    /// Replaces the subject's program by a script that writes its id first. `None` if the subject has no program.
    fn of(subject: &mut Subject) -> Result<Option<Self>> {
        let Some(provider) = &mut subject.provider else { return Ok(None) };
        let notes = Self(tempfile::tempdir().context("creating a directory for notes")?);
        fs::write(notes.file(), "")?;
        let (file, program) = (notes.file(), std::mem::replace(&mut provider.program, notes.0.path().join("program")));
        let script = format!("#!/bin/sh\necho $$ >> {}\nexec {} \"$@\"\n", file.display(), program.display());
        fs::write(&provider.program, script)?;
        fs::set_permissions(&provider.program, fs::Permissions::from_mode(0o755))?;
        Ok(Some(notes))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("processes")
    }
}

/// A thread that reads the numbers of every process whose id is written down.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    fn start(notes: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let (mut gone, mut peak) = (BTreeSet::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let noted = fs::read_to_string(&notes).unwrap_or_default();
                for process in noted.lines() {
                    match fs::read_to_string(format!("/proc/{process}/status")) {
                        Ok(status) if !gone.contains(process) => peak = peak.max(kibibytes(&status).unwrap_or(0)),
                        Ok(_) => {}
                        // The system may reuse the id for another process.
                        Err(_) => drop(gone.insert(process.to_owned())),
                    }
                }
                thread::sleep(INTERVAL);
            }
            peak
        });
        Self { stop, thread }
    }

    /// Returns the peak in KiB.
    fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread that reads memory sizes panicked"))
    }
}

/// Reads `VmHWM` from a `/proc/PID/status`.
fn kibibytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn the_peak_is_read_from_a_status() {
        assert_eq!(kibibytes("VmPeak:\t 90000 kB\nVmHWM:\t    9876 kB\nVmRSS:\t  100 kB\n"), Some(9876));
        // A process that has ended and was not waited for has no peak.
        assert_eq!(kibibytes("Name:\tx\nState:\tZ (zombie)\n"), None);
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(kibibytes(&own).unwrap() > 0);
    }
}
