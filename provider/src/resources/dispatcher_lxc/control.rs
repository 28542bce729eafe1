//! The provider's requests to a running dispatcher, to report its status or to work with a configuration.

use std::time::Duration;

use dispatcher_api::{Config, Phase, Problem, Secrets, Status, Subject};
use guest::OwnedContainer;
use jiff::Timestamp;
use ownership::Vmid;
use pve::console::Console;
use tf_provider::{Context, Diagnostic};
use tokio::time::{Instant, sleep};

use super::console::{self, ConsoleError, Session};
use crate::diagnostics::{self, Unable as _};
use crate::provider::Clients;

const THING: &str = "dispatcher";

/// A container needs seconds to start.
const OPENING: Duration = Duration::from_secs(60);
/// Reading the state must not wait for a dispatcher that is out of order.
const LOOKING: Duration = Duration::from_secs(15);
/// A network may come up late: what hinders the dispatcher has this long to pass by itself.
pub(crate) const HINDRANCE: Duration = Duration::from_secs(30);
/// A first pass without any hindrance takes seconds.
const FIRST_PASS: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const LOG_LINES: usize = 6;

/// Asks a running dispatcher how it is. Ends soon, whatever happens.
pub(crate) async fn look(container: &OwnedContainer) -> Result<Status, ConsoleError> {
    let asked = async {
        let mut session = console::open(container, Instant::now() + LOOKING / 2).await?;
        let status = session.status().await;
        session.close().await;
        status
    };
    tokio::time::timeout(LOOKING, asked).await.unwrap_or(Err(ConsoleError::Silent))
}

/// Puts a configuration in force and waits for the first pass with it that reaches Proxmox VE and GitHub.
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

/// Why the first pass did not come.
enum NotWorking {
    Hindered(Vec<Problem>),
    Slow(Phase),
    Console(ConsoleError),
}

async fn first_pass(session: &mut Session<Console>, hash: &str, before: Option<Timestamp>) -> Result<(), NotWorking> {
    let begin = Instant::now();
    let mut hindered_since: Option<Instant> = None;
    loop {
        let status = session.status().await.map_err(NotWorking::Console)?;
        if works(&status, hash, before) {
            return Ok(());
        }
        // What it said of the configuration before says nothing about this one.
        let current = status.config_hash.as_deref() == Some(hash);
        hindered_since =
            if current && !status.problems.is_empty() { hindered_since.or(Some(Instant::now())) } else { None };
        if hindered_since.is_some_and(|since| since.elapsed() >= HINDRANCE) {
            return Err(NotWorking::Hindered(status.problems));
        }
        if begin.elapsed() >= FIRST_PASS {
            return Err(NotWorking::Slow(status.phase));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// With the same configuration and other secrets only a newer good pass shows that those work.
fn works(status: &Status, hash: &str, before: Option<Timestamp>) -> bool {
    let newer = status.last_good_pass_at.is_some_and(|at| before.is_none_or(|before| at > before));
    status.config_hash.as_deref() == Some(hash) && status.phase == Phase::Running && newer
}

fn not_working(vmid: Vmid, error: &NotWorking, log: &[String]) -> Diagnostic {
    let mut detail = match error {
        NotWorking::Hindered(problems) => listed(problems),
        NotWorking::Slow(phase) => {
            format!("It took its configuration, but did not finish a first pass in time (it is {phase:?}).")
        }
        NotWorking::Console(error) => diagnostics::unable("watch", THING, "", error).detail,
    };
    if !log.is_empty() {
        detail.push_str("\n\nThe end of its log:\n  ");
        detail.push_str(&log.join("\n  "));
    }
    diagnostics::found(format!("The dispatcher in container \"{vmid}\" does not work"), detail)
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Pve => "It cannot use Proxmox VE",
        Subject::Github => "It cannot use GitHub",
        Subject::Pool => "A pool cannot be served",
        Subject::Dispatcher => "It is out of order",
    }
}

/// Returns a problem in one line.
pub(super) fn says(problem: &Problem) -> String {
    format!("{}: {}", subject(problem.subject), problem.message)
}

fn hint(subject: Subject) -> &'static str {
    match subject {
        Subject::Pve => "Check `pve` and `pve_token_secret_wo`, and that the container's `network` leads to the API.",
        Subject::Github => "Check `github` and `github_token_wo`, and that the container's `network` leads to GitHub.",
        Subject::Pool => "Check that pool's template, resource pool and VMIDs.",
        Subject::Dispatcher => "Its console in the Proxmox VE web page shows its log.",
    }
}

/// Problems as lines of a message.
pub(crate) fn listed(problems: &[Problem]) -> String {
    let line = |problem: &Problem| format!("{}\n  {}", says(problem), hint(problem.subject));
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
        assert!(!works(&status, "a", at(10)), "the pass was before");
        assert!(!works(&status, "b", None), "another configuration");
        assert!(!works(&Status { phase: Phase::Starting, ..status }, "a", None));
    }

    #[test]
    fn a_hindrance_is_reported_with_what_to_check_and_the_log() {
        let problem =
            Problem { subject: Subject::Github, message: "401 Bad credentials".into(), since: Timestamp::UNIX_EPOCH };
        let diagnostic = not_working(
            Vmid::new(8100).unwrap(),
            &NotWorking::Hindered(vec![problem]),
            &["WARN poll failed".to_owned()],
        );
        assert!(diagnostic.summary.contains("8100"), "{}", diagnostic.summary);
        for text in ["401 Bad credentials", "github_token_wo", "poll failed"] {
            assert!(diagnostic.detail.contains(text), "{}", diagnostic.detail);
        }
    }
}
