//! The end of a dispatcher. A draining dispatcher takes no more jobs, and its container is destroyed after its runner
//! VMs.
//!
//! The wait can take as long as the longest job. The log therefore says every ten seconds which runner VMs are waited
//! for, what hinders the dispatcher, and how to go on.

use std::time::Duration;

use dispatcher_api::{Phase, Problem, Status};
use guest::OwnedContainer;
use tokio::time::{Instant, sleep};

use super::console::{self, ConsoleError, Session, Wire};
use super::control::{listed, says};

/// A container needs seconds to start.
const OPENING: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);
/// Time between two lines of the log, and between two checks for runner VMs that are left.
const REPORT: Duration = Duration::from_secs(10);

/// Commands that remove a runner VM. Without the second, Proxmox VE refuses to remove it.
pub(super) const BY_HAND: &str = "on its node: `qm stop VMID`, `qm set VMID --protection 0`, `qm destroy VMID`";

/// A dispatcher that can be asked to end.
trait Ending {
    async fn drain(&mut self) -> Result<Status, ConsoleError>;
    async fn status(&mut self) -> Result<Status, ConsoleError>;
}

impl<W: Wire> Ending for Session<W> {
    async fn drain(&mut self) -> Result<Status, ConsoleError> {
        Self::drain(self).await
    }

    async fn status(&mut self) -> Result<Status, ConsoleError> {
        Self::status(self).await
    }
}

/// Makes the dispatcher take no more jobs and waits until its runner VMs are gone. `last` takes its last status.
///
/// A dispatcher that is hindered for longer than `patience` cannot say that nothing is left, for example because it is cut off
/// from Proxmox VE. If no runner VM is left by its own count or by `nothing_left`, the problems that hinder it are returned.
pub(super) async fn drain<Look: Future<Output = bool>>(
    container: &OwnedContainer,
    patience: Duration,
    last: &mut Option<Status>,
    nothing_left: impl Fn() -> Look,
) -> Result<Vec<Problem>, ConsoleError> {
    let vmid = container.vmid();
    tracing::info!(vmid = vmid.get(), "asking the dispatcher to take no more jobs, for up to {} s", OPENING.as_secs());
    let mut session = console::open(container, Instant::now() + OPENING).await?;
    let outcome =
        wait(&mut session, patience, last, nothing_left, |line| tracing::info!(vmid = vmid.get(), "{line}")).await;
    session.close().await;
    outcome
}

async fn wait<Look: Future<Output = bool>>(
    dispatcher: &mut impl Ending,
    patience: Duration,
    last: &mut Option<Status>,
    nothing_left: impl Fn() -> Look,
    report: impl Fn(&str),
) -> Result<Vec<Problem>, ConsoleError> {
    let begin = Instant::now();
    let mut reported: Option<Instant> = None;
    let mut hindered_since: Option<Instant> = None;
    let mut status = dispatcher.drain().await?;
    while !matches!(status.phase, Phase::Drained | Phase::Unconfigured) {
        let hindered = status.phase == Phase::Draining && !status.problems.is_empty();
        hindered_since = if hindered { hindered_since.or(Some(Instant::now())) } else { None };
        let is_due = reported.is_none_or(|at| at.elapsed() >= REPORT);
        if hindered_since.is_some_and(|since| since.elapsed() >= patience)
            && (status.live() == 0 || is_due && nothing_left().await)
        {
            return Ok(status.problems);
        }
        if is_due {
            report(&waited_for(&status, begin.elapsed()));
            reported = Some(Instant::now());
        }
        *last = Some(status);
        sleep(POLL).await;
        status = drain_further(dispatcher).await?;
    }
    Ok(Vec::new())
}

/// Returns the status. A dispatcher that was restarted has forgotten the request to drain and is asked again.
async fn drain_further(dispatcher: &mut impl Ending) -> Result<Status, ConsoleError> {
    let status = dispatcher.status().await?;
    match status.phase {
        Phase::Starting | Phase::Running => dispatcher.drain().await,
        _ => Ok(status),
    }
}

/// Returns one line about the reason why the destruction of the container waits.
fn waited_for(status: &Status, waited: Duration) -> String {
    let mut parts = vec![format!("waiting for {} s: {}", waited.as_secs(), remaining(status).join(", "))];
    parts.extend(status.problems.iter().map(says));
    let way_on = if status.problems.is_empty() {
        "it goes on by itself when the jobs have ended; an interrupt (Ctrl-C) ends the wait and destroys nothing"
    } else {
        &format!(
            "it goes on when the hindrance is removed, or when you have destroyed these VMs by hand ({BY_HAND}); an \
             interrupt (Ctrl-C) ends the wait and destroys nothing"
        )
    };
    parts.push(way_on.to_owned());
    parts.join("; ")
}

/// Returns the numbers of runner VMs that are left, pool by pool.
fn remaining(status: &Status) -> Vec<String> {
    let pools = status.pools.iter().filter(|pool| pool.live() > 0);
    let left: Vec<String> = pools
        .map(|pool| format!("pool \"{}\" has {} VMs, {} of them with a running job", pool.name, pool.live(), pool.busy))
        .collect();
    if left.is_empty() {
        vec!["no runner VM is left, but the dispatcher has not made sure of it".to_owned()]
    } else {
        left
    }
}

/// Describes a drain that was not done in time: the runner VMs that are left, the problems, and what to do.
pub(super) fn what_is_left(status: &Status) -> String {
    let mut text = format!("It was waited for: {}.", remaining(status).join(", "));
    if !status.problems.is_empty() {
        text.push_str(&format!("\n{}", listed(&status.problems)));
        text.push_str(&format!(
            "\nRemove the hindrance, or destroy these VMs by hand ({BY_HAND}); then destroy the dispatcher again."
        ));
    }
    text.push_str("\nThe dispatcher takes no more jobs. Destroy it again when they have ended, or allow more time in `timeouts.delete`; applying its configuration makes it work again.");
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use dispatcher_api::{PoolStatus, Subject};
    use jiff::Timestamp;

    use super::*;

    /// A dispatcher with two runner VMs whose jobs take a minute. A dispatcher that is cut off never removes the VMs.
    struct Played {
        begin: Instant,
        cut_off: bool,
    }

    impl Played {
        fn new(cut_off: bool) -> Self {
            Self { begin: Instant::now(), cut_off }
        }
    }

    impl Ending for Played {
        async fn drain(&mut self) -> Result<Status, ConsoleError> {
            self.status().await
        }

        async fn status(&mut self) -> Result<Status, ConsoleError> {
            if !self.cut_off && self.begin.elapsed() > Duration::from_secs(60) {
                return Ok(Status { phase: Phase::Drained, ..Status::default() });
            }
            let problem =
                Problem { subject: Subject::Pve, message: "cannot be reached".into(), since: Timestamp::UNIX_EPOCH };
            let name = "plain".parse().unwrap();
            let pool = PoolStatus { name, max: 2, queued: 0, preparing: 0, idle: 1, busy: 1, ending: 0 };
            let problems = if self.cut_off { vec![problem] } else { Vec::new() };
            Ok(Status { phase: Phase::Draining, pools: vec![pool], problems, ..Status::default() })
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_reported_every_ten_seconds_with_what_it_is_for_and_how_to_go_on() {
        let lines = RefCell::new(Vec::new());
        let report = |line: &str| lines.borrow_mut().push(line.to_owned());
        let end = wait(&mut Played::new(false), PATIENCE, &mut None, || ready(false), report).await.unwrap();
        assert_eq!(end, Vec::new());
        let lines = lines.into_inner();
        assert_eq!(lines.len(), 7, "{lines:#?}");
        for words in ["waiting for 10 s", "pool \"plain\" has 2 VMs, 1 of them with a running job", "Ctrl-C"] {
            assert!(lines[1].contains(words), "{words}: {}", lines[1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dispatcher_that_is_cut_off_is_not_waited_for_once_nothing_is_left() {
        let begin = Instant::now();
        let gone = || ready(begin.elapsed() > Duration::from_secs(100));
        let lines = RefCell::new(Vec::new());
        let report = |line: &str| lines.borrow_mut().push(line.to_owned());
        let problems = wait(&mut Played::new(true), PATIENCE, &mut None, gone, report).await.unwrap();
        assert_eq!(problems.len(), 1);
        assert!(begin.elapsed() > Duration::from_secs(100) && begin.elapsed() < Duration::from_secs(115));
        let line = &lines.into_inner()[1];
        for words in ["It cannot use Proxmox VE: cannot be reached", "destroyed these VMs by hand", "--protection 0"] {
            assert!(line.contains(words), "{words}: {line}");
        }
    }

    #[test]
    fn a_drain_that_was_not_done_in_time_says_what_hinders_it() {
        let problem =
            Problem { subject: Subject::Pve, message: "cannot be reached".into(), since: Timestamp::UNIX_EPOCH };
        let text = what_is_left(&Status { problems: vec![problem], ..Status::default() });
        for words in
            ["no runner VM is left", "cannot be reached", "Remove the hindrance", "--protection 0", "timeouts.delete"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
