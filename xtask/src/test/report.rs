//! Counts the results of all test programs, shows progress, and prints a summary at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{Ended, Event};
use crate::narrate::Narrator;

/// Number of slowest tests in the summary.
const SLOWEST: usize = 10;

/// Results so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Number of tests that the programs listed; zero before.
    pub(super) expected: usize,
    passed: usize,
    failures: Vec<String>,
    durations: Vec<(Duration, String)>,
    not_run: Vec<String>,
    program: String,
    passed_before_program: usize,
    /// Tests of the current program that have not ended.
    running: BTreeSet<String>,
    has_result: bool,
    /// Text of the current program from outside the harness, shown when the program fails.
    text: Vec<String>,
}

impl Report {
    /// Reads a line of the programs' output and shows the parts that a person should see.
    pub(super) fn read(&mut self, line: &str, narrator: &Narrator) {
        match Event::read(line) {
            Event::Program(name) => {
                self.end_program(narrator);
                self.program = name;
                self.has_result = false;
                self.passed_before_program = self.passed;
            }
            Event::Started(name) => {
                self.running.insert(name);
            }
            Event::Ended(ended) => self.test_ended(ended, narrator),
            Event::Result => self.has_result = true,
            Event::Text(text) => self.read_text(text),
            Event::Other => {}
        }
    }

    fn test_ended(&mut self, ended: Ended, narrator: &Narrator) {
        self.running.remove(&ended.name);
        ended.output.lines().filter_map(not_run).for_each(|reason| self.skip(reason));
        let name = format!("{} {}", self.program, ended.name);
        self.durations.push((ended.took, name.clone()));
        if ended.passed {
            self.passed += 1;
        } else {
            self.fail(&name, &ended.output, narrator);
        }
    }

    fn read_text(&mut self, text: String) {
        match not_run(&text) {
            Some(reason) => self.skip(reason),
            None => self.text.push(text),
        }
    }

    /// Ends the current program. A program without a result failed, together with the tests that it was running.
    pub(super) fn end_program(&mut self, narrator: &Narrator) {
        let text = std::mem::take(&mut self.text);
        let running = std::mem::take(&mut self.running);
        if self.program.is_empty() {
            return;
        }
        if !self.has_result {
            let names: Vec<&str> = running.iter().map(String::as_str).collect();
            let output = format!("{}\nstill running: {}", text.join("\n"), names.join(", "));
            self.fail(&format!("{} ended before its result", self.program), &output, narrator);
        }
        let passed = self.passed - self.passed_before_program;
        if passed > 0 {
            narrator.say(&format!("{}: {}, {passed} passed", self.progress(), self.program));
        }
        self.program.clear();
    }

    /// Shows the progress of the run while no program ends.
    pub(super) fn heartbeat(&self, narrator: &Narrator) {
        let running = self.running.iter().next().map(|test| format!(", running {test}")).unwrap_or_default();
        narrator.say(&format!("{}: {}{running}", self.progress(), self.program));
    }

    fn progress(&self) -> String {
        format!("{} of {}", self.passed + self.failures.len(), self.expected)
    }

    /// Counts a step outside the test programs.
    pub(super) fn step(&mut self, name: &str, result: anyhow::Result<()>, narrator: &Narrator) {
        self.expected += 1;
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(name, &format!("{error:#}"), narrator),
        }
    }

    /// Counts a failure and shows it at once.
    pub(super) fn fail(&mut self, name: &str, output: &str, narrator: &Narrator) {
        self.failures.push(name.to_owned());
        narrator.say(&format!("FAILED {name}"));
        narrator.detail(output.trim_end());
    }

    /// Notes something that was not run, once.
    pub(super) fn skip(&mut self, reason: &str) {
        if !self.not_run.iter().any(|known| known == reason) {
            self.not_run.push(reason.to_owned());
        }
    }

    /// Returns the number of failures so far.
    pub(super) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Returns the last lines of the run: the slowest tests, everything not run, the failures, and the counts.
    pub(super) fn summary(&self) -> String {
        let mut durations: Vec<_> = self.durations.iter().collect();
        durations.sort_by(|left, right| right.cmp(left));
        let slowest =
            durations.iter().take(SLOWEST).map(|(took, name)| format!("{:7.1} s  {name}\n", took.as_secs_f32()));
        let not_run = self.not_run.iter().map(|reason| format!("not run: {reason}\n"));
        let failures = self.failures.iter().map(|name| format!("FAILED {name}\n"));
        let counts = format!("{} passed, {} failed\n", self.passed, self.failures.len());
        let title = (!durations.is_empty()).then(|| "the slowest tests:\n".to_owned());
        title.into_iter().chain(slowest).chain(not_run).chain(failures).chain(std::iter::once(counts)).collect()
    }
}

fn not_run(line: &str) -> Option<&str> {
    line.trim().strip_prefix("not run: ")
}

#[cfg(test)]
mod tests {
    use super::super::event::announce;
    use super::*;

    fn read(lines: &[&str]) -> Report {
        let mut report = Report { expected: 3, ..Report::default() };
        let narrator = Narrator::start();
        lines.iter().for_each(|line| report.read(line, &narrator));
        report.end_program(&narrator);
        report
    }

    fn started(name: &str) -> String {
        format!(r#"{{ "type": "test", "event": "started", "name": "{name}" }}"#)
    }

    fn ended(name: &str, event: &str, took: f32, output: &str) -> String {
        serde_json::json!({ "type": "test", "name": name, "event": event, "exec_time": took, "stdout": output })
            .to_string()
    }

    #[test]
    fn the_summary_has_counts_slowest_tests_and_everything_that_was_not_run() {
        let report = read(&[
            &announce("pve"),
            &started("quick"),
            &started("slow"),
            &ended("quick", "ok", 0.1, "not run: recordings (no ../shared/pve)\n"),
            &ended("slow", "ok", 12.0, "not run: recordings (no ../shared/pve)\n"),
            r#"{ "type": "suite", "event": "ok" }"#,
            &announce("github"),
            &ended("bad", "failed", 1.0, "assertion failed"),
            r#"{ "type": "suite", "event": "failed" }"#,
        ]);
        assert_eq!(
            report.summary(),
            "the slowest tests:\n   12.0 s  pve slow\n    1.0 s  github bad\n    0.1 s  pve quick\n\
             not run: recordings (no ../shared/pve)\nFAILED github bad\n2 passed, 1 failed\n"
        );
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failure() {
        let report = read(&[&announce("sim"), &started("crashes"), "memory allocation failed", &announce("pve")]);
        let summary = report.summary();
        assert!(summary.contains("FAILED sim ended before its result"), "{summary}");
        assert!(summary.ends_with("0 passed, 2 failed\n"), "{summary}");
    }
}
