//! The provider's requests to a running dispatcher: its status, and a new configuration.

use std::time::Duration;

use dispatcher_api::{Config, Phase, Problem, Secrets, Status, Subject};
use guest::OwnedContainer;
use jiff::Timestamp;
use ownership::Vmid;
use pve::console::Console;
use tf_provider::{Context, Diagnostic};
use tokio::time::{Instant, sleep};

use super::console::{self, ConsoleError, Session};
use crate::clients::Clients;
use crate::diagnostics::{self, Unable as _};

/// Name of the dispatcher in diagnostics.
const THING: &str = "dispatcher";

/// Longest wait for a console session. A container takes seconds to start.
const OPENING: Duration = Duration::from_secs(60);
/// Longest wait for the status in a refresh, which must not wait for a dispatcher that has failed.
const STATUS_DEADLINE: Duration = Duration::from_secs(15);
/// Time for which problems of the dispatcher are tolerated, because its network may come up late.
pub(crate) const PROBLEM_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for the first pass, which takes seconds if there are no problems.
const FIRST_PASS: Duration = Duration::from_secs(180);
/// Time between two polls of the status.
const POLL_PAUSE: Duration = Duration::from_millis(500);
/// Lines of the dispatcher's log that a diagnostic shows.
const LOG_LINES: usize = 6;

/// Asks a running dispatcher for its status.
pub(crate) async fn status(container: &OwnedContainer) -> Result<Status, ConsoleError> {
    let asked = async {
        let mut session = console::open(container, Instant::now() + STATUS_DEADLINE / 2).await?;
        let status = session.status().await;
        session.close().await;
        status
    };
    tokio::time::timeout(STATUS_DEADLINE, asked).await.unwrap_or(Err(ConsoleError::Silent))
}

/// Sends a configuration and waits for the first pass with it that reaches Proxmox VE and GitHub.
pub(crate) async fn configure(
    cx: &Context<Clients>,
    container: &OwnedContainer,
    config: &Config,
    secrets: &Secrets,
) -> Result<(), Diagnostic> {
    let mut session = cx.guard(console::open(container, Instant::now() + OPENING)).await?.unable(
        "configure",
        THING,
        container.vmid(),
    )?;
    let before = cx.guard(session.status()).await?.unable("configure", THING, container.vmid())?;
    let hash = cx.guard(session.configure(config, secrets)).await?.unable("configure", THING, container.vmid())?;
    tracing::info!(vmid = container.vmid().get(), "configured the dispatcher, waiting for its first pass");
    let outcome = cx.guard(first_pass(&mut session, &hash, before.last_good_pass_at)).await?;
    let lines = if outcome.is_err() { session.last_log_lines(LOG_LINES).await } else { Vec::new() };
    session.close().await;
    outcome.map_err(|error| not_working(container.vmid(), &error, &lines))
}

/// Reason why there was no successful first pass.
enum NotWorking {
    /// The dispatcher reports problems.
    Problems(Vec<Problem>),
    /// The first pass did not end in time.
    Slow(Phase),
    /// The console failed.
    Console(ConsoleError),
}

async fn first_pass(session: &mut Session<Console>, hash: &str, before: Option<Timestamp>) -> Result<(), NotWorking> {
    let begin = Instant::now();
    let mut problems_since: Option<Instant> = None;
    loop {
        let status = session.status().await.map_err(NotWorking::Console)?;
        if works(&status, hash, before) {
            return Ok(());
        }
        // Problems with the earlier configuration do not count.
        let is_current = status.config_hash.as_deref() == Some(hash);
        problems_since =
            if is_current && !status.problems.is_empty() { problems_since.or(Some(Instant::now())) } else { None };
        if problems_since.is_some_and(|since| since.elapsed() >= PROBLEM_LIMIT) {
            return Err(NotWorking::Problems(status.problems));
        }
        if begin.elapsed() >= FIRST_PASS {
            return Err(NotWorking::Slow(status.phase));
        }
        sleep(POLL_PAUSE).await;
    }
}

/// Returns true if a pass after `before` succeeded with this configuration. An older pass may have used other secrets.
fn works(status: &Status, hash: &str, before: Option<Timestamp>) -> bool {
    let is_newer = status.last_good_pass_at.is_some_and(|at| before.is_none_or(|before| at > before));
    status.config_hash.as_deref() == Some(hash) && status.phase == Phase::Running && is_newer
}

/// Returns the diagnostic of a dispatcher that does not work, with the end of its log.
fn not_working(vmid: Vmid, error: &NotWorking, log: &[String]) -> Diagnostic {
    let mut detail = match error {
        NotWorking::Problems(problems) => listed(problems),
        NotWorking::Slow(phase) => {
            format!("It accepted its configuration, but did not finish a first pass in time (its phase is {phase:?}).")
        }
        NotWorking::Console(error) => diagnostics::unable("watch", THING, "", error).detail,
    };
    if !log.is_empty() {
        detail.push_str("\n\nThe last lines of its log:\n  ");
        detail.push_str(&log.join("\n  "));
    }
    diagnostics::error(format!("The dispatcher in container \"{vmid}\" does not work"), detail)
}

/// Returns the beginning of a sentence about a problem.
fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Pve => "It cannot use Proxmox VE",
        Subject::Github => "It cannot use GitHub",
        Subject::Pool => "A pool cannot be served",
        Subject::Dispatcher => "It has failed",
    }
}

/// Returns a problem as one line.
pub(super) fn line_of(problem: &Problem) -> String {
    format!("{}: {}", subject(problem.subject), problem.message)
}

/// Returns advice on a problem.
fn hint(subject: Subject) -> &'static str {
    match subject {
        Subject::Pve => "Check `pve` and `pve_token_secret_wo`, and that the container's `network` leads to the API.",
        Subject::Github => "Check `github` and `github_token_wo`, and that the container's `network` leads to GitHub.",
        Subject::Pool => "Check the template, the resource pool and the VMIDs of that pool.",
        Subject::Dispatcher => "Its console in the web interface of Proxmox VE shows its log.",
    }
}

/// Returns problems as lines of a diagnostic, each with advice.
pub(crate) fn listed(problems: &[Problem]) -> String {
    let line = |problem: &Problem| format!("{}\n  {}", line_of(problem), hint(problem.subject));
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn only_a_newer_pass_with_this_configuration_shows_that_it_works() {
        let status = Status {
            phase: Phase::Running,
            config_hash: Some("a".into()),
            last_good_pass_at: at(10),
            ..Status::default()
        };
        assert!(works(&status, "a", None) && works(&status, "a", at(9)));
        assert!(!works(&status, "a", at(10)), "the pass is older");
        assert!(!works(&status, "b", None), "another configuration");
        assert!(!works(&Status { phase: Phase::Starting, ..status }, "a", None));
    }

    #[test]
    fn a_problem_is_reported_with_advice_and_the_log() {
        let problem =
            Problem { subject: Subject::Github, message: "401 Bad credentials".into(), since: Timestamp::UNIX_EPOCH };
        let diagnostic = not_working(
            Vmid::new(8100).unwrap(),
            &NotWorking::Problems(vec![problem]),
            &["WARN poll failed".to_owned()],
        );
        assert!(diagnostic.summary.contains("8100"), "{}", diagnostic.summary);
        for text in ["401 Bad credentials", "github_token_wo", "poll failed"] {
            assert!(diagnostic.detail.contains(text), "{}", diagnostic.detail);
        }
    }
}
