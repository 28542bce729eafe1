//! The drain of a dispatcher before its container is destroyed. A draining dispatcher takes no more jobs.
//!
//! The wait for its runner VMs can take as long as the longest job. Every ten seconds, the log therefore reports the
//! runner VMs that are left, the problems of the dispatcher, and what to do.

use std::time::Duration;

use dispatcher_api::{Phase, Problem, Status};
use guest::OwnedContainer;
use tokio::time::{Instant, sleep};

use super::console::{self, ConsoleError, Session, Wire};
use super::control::{line_of, listed};

/// Longest wait for a console session. A container takes seconds to start.
const OPENING: Duration = Duration::from_secs(60);
/// Time between two polls of the status.
const POLL_PAUSE: Duration = Duration::from_millis(500);
/// Time between two lines of the log, and between two checks for remaining runner VMs.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Commands that remove a runner VM. Without the second, Proxmox VE refuses to remove it.
pub(super) const BY_HAND: &str = "on its node: `qm stop VMID`, `qm set VMID --protection 0`, `qm destroy VMID`";

/// A dispatcher that can drain.
trait Drain {
    async fn drain(&mut self) -> Result<Status, ConsoleError>;
    async fn status(&mut self) -> Result<Status, ConsoleError>;
}

impl<W: Wire> Drain for Session<W> {
    async fn drain(&mut self) -> Result<Status, ConsoleError> {
        Self::drain(self).await
    }

    async fn status(&mut self) -> Result<Status, ConsoleError> {
        Self::status(self).await
    }
}

/// Makes the dispatcher take no more jobs, and waits until its runner VMs no longer exist. Stores its last status in
/// `last`.
///
/// A dispatcher whose problems last longer than `problem_limit`, for example because it cannot reach Proxmox VE, cannot
/// finish its drain. The wait then ends once no runner VM is left, by its own count or by `is_none_left`. The result is
/// these problems.
pub(super) async fn drain<Check: Future<Output = bool>>(
    container: &OwnedContainer,
    problem_limit: Duration,
    last: &mut Option<Status>,
    is_none_left: impl Fn() -> Check,
) -> Result<Vec<Problem>, ConsoleError> {
    let vmid = container.vmid();
    tracing::info!(vmid = vmid.get(), "asking the dispatcher to take no more jobs, for up to {} s", OPENING.as_secs());
    let mut session = console::open(container, Instant::now() + OPENING).await?;
    let outcome =
        wait(&mut session, problem_limit, last, is_none_left, |line| tracing::info!(vmid = vmid.get(), "{line}")).await;
    session.close().await;
    outcome
}

async fn wait<Check: Future<Output = bool>>(
    dispatcher: &mut impl Drain,
    problem_limit: Duration,
    last: &mut Option<Status>,
    is_none_left: impl Fn() -> Check,
    report: impl Fn(&str),
) -> Result<Vec<Problem>, ConsoleError> {
    let begin = Instant::now();
    let mut reported: Option<Instant> = None;
    let mut problems_since: Option<Instant> = None;
    let mut status = dispatcher.drain().await?;
    while !matches!(status.phase, Phase::Drained | Phase::Unconfigured) {
        let has_problems = status.phase == Phase::Draining && !status.problems.is_empty();
        problems_since = if has_problems { problems_since.or(Some(Instant::now())) } else { None };
        let is_due = reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
        if problems_since.is_some_and(|since| since.elapsed() >= problem_limit)
            && (status.live() == 0 || is_due && is_none_left().await)
        {
            return Ok(status.problems);
        }
        if is_due {
            report(&progress(&status, begin.elapsed()));
            reported = Some(Instant::now());
        }
        *last = Some(status);
        sleep(POLL_PAUSE).await;
        status = continue_drain(dispatcher).await?;
    }
    Ok(Vec::new())
}

/// Returns the status. A dispatcher that was restarted is asked again to drain.
async fn continue_drain(dispatcher: &mut impl Drain) -> Result<Status, ConsoleError> {
    let status = dispatcher.status().await?;
    match status.phase {
        Phase::Starting | Phase::Running => dispatcher.drain().await,
        _ => Ok(status),
    }
}

/// Returns a line of the log: the runner VMs that are left, the problems, and what to do.
fn progress(status: &Status, waited: Duration) -> String {
    let mut parts = vec![format!("waiting for {} s: {}", waited.as_secs(), remaining(status).join(", "))];
    parts.extend(status.problems.iter().map(line_of));
    let advice = if status.problems.is_empty() {
        "the destroy continues when the jobs have ended; an interrupt (Ctrl-C) ends the wait and destroys nothing"
    } else {
        &format!(
            "the destroy continues when the problem is solved, or when you have destroyed these VMs by hand ({BY_HAND}); an \
             interrupt (Ctrl-C) ends the wait and destroys nothing"
        )
    };
    parts.push(advice.to_owned());
    parts.join("; ")
}

/// Returns the number of runner VMs that are left, for each pool.
fn remaining(status: &Status) -> Vec<String> {
    let pools = status.pools.iter().filter(|pool| pool.live() > 0);
    let left: Vec<String> = pools
        .map(|pool| format!("pool \"{}\" has {} VMs, {} of them with a running job", pool.name, pool.live(), pool.busy))
        .collect();
    if left.is_empty() {
        vec!["no runner VM is left, but the dispatcher has not confirmed it".to_owned()]
    } else {
        left
    }
}

/// Describes a drain that did not end in time: the runner VMs that are left, the problems, and what to do.
pub(super) fn remaining_work(status: &Status) -> String {
    let mut text = format!("The wait ended with runner VMs left: {}.", remaining(status).join(", "));
    if !status.problems.is_empty() {
        text.push_str(&format!("\n{}", listed(&status.problems)));
        text.push_str(&format!(
            "\nSolve the problem, or destroy these VMs by hand ({BY_HAND}). Then destroy the dispatcher again."
        ));
    }
    text.push_str("\nThe dispatcher takes no more jobs. Destroy it again when the jobs have ended, or allow more time in `timeouts.delete`. An apply of its configuration ends the drain.");
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use dispatcher_api::{PoolStatus, Subject};
    use jiff::Timestamp;

    use super::*;

    /// A fake dispatcher with two runner VMs whose jobs take a minute. If it is cut off, it never destroys the VMs.
    struct FakeDispatcher {
        begin: Instant,
        cut_off: bool,
    }

    impl FakeDispatcher {
        fn new(cut_off: bool) -> Self {
            Self { begin: Instant::now(), cut_off }
        }
    }

    impl Drain for FakeDispatcher {
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

    const PROBLEM_LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_reported_every_ten_seconds_with_the_runner_vms_and_advice() {
        let lines = RefCell::new(Vec::new());
        let report = |line: &str| lines.borrow_mut().push(line.to_owned());
        let end =
            wait(&mut FakeDispatcher::new(false), PROBLEM_LIMIT, &mut None, || ready(false), report).await.unwrap();
        assert_eq!(end, Vec::new());
        let lines = lines.into_inner();
        assert_eq!(lines.len(), 7, "{lines:#?}");
        for words in ["waiting for 10 s", "pool \"plain\" has 2 VMs, 1 of them with a running job", "Ctrl-C"] {
            assert!(lines[1].contains(words), "{words}: {}", lines[1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_dispatcher_that_is_cut_off_ends_when_no_runner_vm_is_left() {
        let begin = Instant::now();
        let is_none_left = || ready(begin.elapsed() > Duration::from_secs(100));
        let lines = RefCell::new(Vec::new());
        let report = |line: &str| lines.borrow_mut().push(line.to_owned());
        let problems =
            wait(&mut FakeDispatcher::new(true), PROBLEM_LIMIT, &mut None, is_none_left, report).await.unwrap();
        assert_eq!(problems.len(), 1);
        assert!(begin.elapsed() > Duration::from_secs(100) && begin.elapsed() < Duration::from_secs(115));
        let line = &lines.into_inner()[1];
        for words in ["It cannot use Proxmox VE: cannot be reached", "destroyed these VMs by hand", "--protection 0"] {
            assert!(line.contains(words), "{words}: {line}");
        }
    }

    #[test]
    fn a_drain_that_did_not_end_in_time_is_reported_with_its_problems() {
        let problem =
            Problem { subject: Subject::Pve, message: "cannot be reached".into(), since: Timestamp::UNIX_EPOCH };
        let text = remaining_work(&Status { problems: vec![problem], ..Status::default() });
        for words in
            ["no runner VM is left", "cannot be reached", "Solve the problem", "--protection 0", "timeouts.delete"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
