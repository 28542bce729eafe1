//! The status view for a person who opens the console page. Pure: text from status, log and time.

use std::fmt::Write as _;

use dispatcher_api::protocol::LogLine;
use dispatcher_api::{KeptLog, Phase, PoolStatus, Problem, QuarantinedVm, Status, Subject, WaitingJob};
use jiff::{Timestamp, Unit};

/// Cursor home; the lines then overwrite what was there, which does not flicker as clearing would.
const HOME: &str = "\x1b[H";
const CLEAR_REST_OF_LINE: &str = "\x1b[K";
/// Waiting jobs shown; the counts say how many there are.
const MOST_WAITING: usize = 6;
/// Kept logs shown, newest first.
const MOST_KEPT: usize = 3;
const CLEAR_BELOW: &str = "\x1b[J";
const HINT: &str = "Every 2 s. Type retry, or release and a VMID, and Enter. Ctrl-C leaves this view.";

/// The contents of the view.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewInput<'a> {
    /// The dispatcher's status, or why there is none.
    pub(super) status: Result<&'a Status, &'a str>,
    /// Its last log lines.
    pub(super) logs: &'a [LogLine],
    /// Columns and rows of the terminal.
    pub(super) size: (usize, usize),
    /// Now.
    pub(super) now: Timestamp,
}

/// Returns the whole screen as one text for a terminal in raw mode.
pub(super) fn render(input: &ViewInput<'_>) -> String {
    let (columns, rows) = input.size;
    let mut lines = match input.status {
        Ok(status) => status_lines(status, input.now),
        Err(reason) => vec![format!("pxci dispatcher: {reason}")],
    };
    let free = rows.saturating_sub(lines.len() + 4);
    lines.extend(log_lines(input.logs, free));
    lines.truncate(rows.saturating_sub(2));
    lines.extend([String::new(), HINT.to_owned()]);
    let mut screen = HOME.to_owned();
    for (index, line) in lines.iter().enumerate() {
        let end = if index + 1 == lines.len() { "" } else { "\r\n" };
        // Writing into a String cannot fail.
        let _ = write!(screen, "{}{CLEAR_REST_OF_LINE}{end}", fitted(line, columns));
    }
    screen + CLEAR_BELOW
}

/// Cuts a text to the screen. Removes escape sequences, because texts of jobs and errors come from outside.
fn fitted(line: &str, columns: usize) -> String {
    line.chars().map(|character| if character.is_control() { '?' } else { character }).take(columns).collect()
}

fn status_lines(status: &Status, now: Timestamp) -> Vec<String> {
    let installation =
        status.installation.as_ref().map_or_else(|| "not configured".to_owned(), |name| format!("installation {name}"));
    let mut lines = vec![
        format!("pxci dispatcher {} | {installation} | {}", status.version, phase(status.phase)),
        format!("started {} ago | {}", ago(status.started_at, now), last_pass(status, now)),
        String::new(),
    ];
    if !status.pools.is_empty() {
        lines.push(format!(
            "{:<30}{:>5}{:>8}{:>11}{:>6}{:>6}{:>8}",
            "POOL", "MAX", "QUEUED", "PREPARING", "IDLE", "BUSY", "ENDING"
        ));
        lines.extend(status.pools.iter().map(pool_line));
        lines.push(String::new());
    }
    if !status.waiting.is_empty() {
        lines.push("WAITING JOBS".to_owned());
        lines.extend(status.waiting.iter().take(MOST_WAITING).map(|job| waiting_line(job, now)));
        lines.push(String::new());
    }
    if !status.quarantined.is_empty() {
        lines.push("IN QUARANTINE".to_owned());
        lines.extend(status.quarantined.iter().map(|vm| quarantine_line(vm, now)));
        lines.push(String::new());
    }
    if !status.kept.is_empty() {
        lines.push("LOGS OF FAILED VMS".to_owned());
        lines.extend(status.kept.iter().take(MOST_KEPT).map(|log| kept_line(log, now)));
        lines.push(String::new());
    }
    if !status.problems.is_empty() {
        lines.push("PROBLEMS".to_owned());
        lines.extend(status.problems.iter().map(|problem| problem_line(problem, now)));
        lines.push(String::new());
    }
    lines
}

fn last_pass(status: &Status, now: Timestamp) -> String {
    match status.last_good_pass_at {
        Some(at) => format!("last good look at Proxmox VE and GitHub {} ago", ago(at, now)),
        None => "no good look at Proxmox VE and GitHub yet".to_owned(),
    }
}

fn pool_line(pool: &PoolStatus) -> String {
    format!(
        "{:<30}{:>5}{:>8}{:>11}{:>6}{:>6}{:>8}",
        pool.name.as_str(),
        pool.max,
        pool.queued,
        pool.preparing,
        pool.idle,
        pool.busy,
        pool.ending
    )
}

fn waiting_line(job: &WaitingJob, now: Timestamp) -> String {
    let since = job.since.map_or_else(|| "?".to_owned(), |since| ago(since, now));
    format!("{} \"{}\" ({}), for {since}: {}", job.repository, job.name, job.job, job.reason)
}

fn quarantine_line(kept: &QuarantinedVm, now: Timestamp) -> String {
    let QuarantinedVm { vm, vmid, node, until, reason } = kept;
    let left = ago(now, *until);
    format!("{vm} (VMID {vmid} on {node}), {left} left: {reason}")
}

fn kept_line(log: &KeptLog, now: Timestamp) -> String {
    format!("{}, {} ago: {}; log kept: {}", log.vm, ago(log.at, now), log.reason, log.file)
}

fn problem_line(problem: &Problem, now: Timestamp) -> String {
    let subject = match problem.subject {
        Subject::Pve => "Proxmox VE",
        Subject::Github => "GitHub",
        Subject::Pool => "pool",
        Subject::Dispatcher => "dispatcher",
    };
    format!("{subject}, for {}: {}", ago(problem.since, now), problem.message)
}

fn log_lines(logs: &[LogLine], room: usize) -> Vec<String> {
    if logs.is_empty() || room < 2 {
        return Vec::new();
    }
    let newest = &logs[logs.len().saturating_sub(room - 1)..];
    let line = |log: &LogLine| format!("{} {:<5} {}", log.at.strftime("%H:%M:%S"), log.level, log.text);
    std::iter::once("LOG (UTC)".to_owned()).chain(newest.iter().map(line)).collect()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unconfigured => "waiting for its configuration",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Drained => "drained",
    }
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since((Unit::Second, then)).map_or(0, |span| span.get_seconds()).max(0);
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn status() -> Status {
        Status {
            version: "0.1.0".into(),
            phase: Phase::Running,
            installation: Some("lab".parse().unwrap()),
            started_at: at(0),
            last_good_pass_at: Some(at(4000)),
            pools: vec![PoolStatus {
                name: "ubuntu".parse().unwrap(),
                max: 4,
                queued: 3,
                preparing: 1,
                idle: 0,
                busy: 2,
                ending: 0,
            }],
            quarantined: vec![QuarantinedVm {
                vm: "lab-ubuntu-9101-bbbbbb".parse().unwrap(),
                vmid: ownership::Vmid::new(9101).unwrap(),
                node: "pve1".parse().unwrap(),
                until: at(4065),
                reason: "it did not power itself off after its job".into(),
            }],
            kept: vec![KeptLog {
                vm: "lab-ubuntu-9100-aaaaaa".parse().unwrap(),
                pool: "ubuntu".parse().unwrap(),
                at: at(3945),
                reason: "it was deregistered and had no job".into(),
                file: "kept/lab-ubuntu-9100-aaaaaa.log".into(),
            }],
            problems: vec![Problem { subject: Subject::Github, message: "rate\x1b[2J limit".into(), since: at(4000) }],
            ..Status::default()
        }
    }

    fn input<'a>(status: &'a Status, logs: &'a [LogLine], size: (usize, usize)) -> ViewInput<'a> {
        ViewInput { status: Ok(status), logs, size, now: at(4005) }
    }

    #[test]
    fn shows_what_matters() {
        let screen = render(&input(&status(), &[], (100, 24)));
        for text in [
            "0.1.0 | installation lab | running",
            "started 1 h 6 min ago",
            "GitHub 5 s ago",
            "ubuntu",
            "GitHub, for 5 s: rate?[2J limit",
            "lab-ubuntu-9101-bbbbbb (VMID 9101 on pve1), 1 min 0 s left: it did not power itself off after its",
            "1 min 0 s ago: it was deregistered and had no job; log kept: kept/lab",
        ] {
            assert!(screen.contains(text), "{text} in {screen}");
        }
    }

    #[test]
    fn never_exceeds_the_screen() {
        let line = LogLine { sequence: 1, at: at(1), level: "INFO".into(), text: "x".repeat(500) };
        let logs = vec![line; 100];
        for size in [(20, 5), (80, 24), (200, 60), (1, 2)] {
            let screen = render(&input(&status(), &logs, size));
            let lines: Vec<&str> = screen.split("\r\n").collect();
            assert!(lines.len() <= size.1, "{} lines on {size:?}", lines.len());
            let shown = |line: &str| {
                line.replace(HOME, "").replace(CLEAR_REST_OF_LINE, "").replace(CLEAR_BELOW, "").chars().count()
            };
            assert!(lines.iter().all(|line| shown(line) <= size.0), "{size:?}");
        }
    }

    #[test]
    fn the_newest_log_lines_are_shown() {
        let logs: Vec<_> = (0..100)
            .map(|number| LogLine { sequence: number, at: at(1), level: "WARN".into(), text: format!("line {number}") })
            .collect();
        let screen = render(&input(&status(), &logs, (80, 24)));
        assert!(screen.contains("WARN  line 99") && !screen.contains("line 1\x1b"), "{screen}");
    }

    #[test]
    fn says_why_there_is_no_status() {
        let screen =
            render(&ViewInput { status: Err("the daemon does not answer"), logs: &[], size: (80, 24), now: at(0) });
        assert!(screen.contains("the daemon does not answer"));
    }
}
