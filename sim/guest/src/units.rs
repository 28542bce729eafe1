//! Interprets some of the image's own systemd units: path units that wait for a file, the services that they start, and
//! the power actions at the end of a service.
//!
//! Only units in `/etc/systemd/system` that are enabled for `multi-user.target` or `paths.target` are started. Units of
//! Debian's packages are not.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Notify;

use super::log::Log;
use super::sandbox::Sandbox;

/// Time between two checks of a path unit. A call of the agent makes it check at once.
const CHECK_PAUSE: Duration = Duration::from_millis(200);

/// Script that prints the enabled units with their text, each after a line with its name.
const LIST: &str = r#"cd /etc/systemd/system
for wanted in multi-user.target.wants/* paths.target.wants/*; do
    file=$(readlink -f "$wanted") || continue
    case $file in /etc/systemd/system/*) echo "$file" ;; esac
done | sort -u | while read -r file; do
    echo "=== ${file##*/}"
    cat "$file"
done"#;

/// Settings that are interpreted, or that only restrict a service.
const KNOWN: &[&str] = &[
    "After",
    "Before",
    "Description",
    "Documentation",
    "ExecStart",
    "ExecStopPost",
    "FailureAction",
    "SuccessAction",
    "PathExists",
    "Unit",
    "Type",
    "Environment",
    "User",
    "WorkingDirectory",
    "TimeoutStartSec",
    "WantedBy",
    "ConditionPathExists",
    "Wants",
    "Requires",
    "DefaultDependencies",
    "StandardOutput",
    "StandardError",
    "KillMode",
    "OOMPolicy",
    "RemainAfterExit",
    "StartLimitIntervalSec",
];

/// A parsed unit: lists of settings by name. An empty assignment clears a list, as in systemd.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    settings: BTreeMap<String, Vec<String>>,
}

impl Unit {
    fn parse(text: &str) -> Self {
        let mut unit = Self::default();
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            let Some((name, value)) = line.split_once('=') else { continue };
            if line.starts_with(['#', ';', '[']) {
                continue;
            }
            let values = unit.settings.entry(name.trim().to_owned()).or_default();
            if value.trim().is_empty() {
                values.clear();
            } else {
                values.push(value.trim().to_owned());
            }
        }
        unit
    }

    fn all(&self, name: &str) -> &[String] {
        self.settings.get(name).map_or(&[], Vec::as_slice)
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    fn unknown(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().map(String::as_str).filter(|name| !KNOWN.contains(name))
    }
}

/// The service manager of one running guest.
#[derive(Debug)]
pub(super) struct Manager {
    guest: Arc<Sandbox>,
    log: Log,
    check: Arc<Notify>,
}

impl Manager {
    pub(super) fn new(guest: Arc<Sandbox>, log: Log, check: Arc<Notify>) -> Self {
        Self { guest, log, check }
    }

    /// Starts the enabled units. Their tasks end with the guest.
    pub(super) async fn start_enabled(self) -> io::Result<()> {
        let manager = Arc::new(self);
        let listing = manager.guest.must("enabled units", LIST, &[], b"").await?;
        for (name, unit) in parse_listing(&listing) {
            manager.note_unknown(&name, &unit);
            let manager = manager.clone();
            if name.ends_with(".path") {
                tokio::spawn(async move { manager.wait_for_path(&name, &unit).await });
            } else if name.ends_with(".service") {
                tokio::spawn(async move { manager.run_service(&name, &unit).await });
            } else {
                manager.log.say(&format!("{name}: this kind of unit is not started in a simulated guest"));
            }
        }
        Ok(())
    }

    fn note_unknown(&self, name: &str, unit: &Unit) {
        for setting in unit.unknown() {
            self.log.say(&format!("{name}: {setting}: without effect in a simulated guest"));
        }
    }

    /// Waits for the file and runs the service to its end, again and again.
    async fn wait_for_path(&self, name: &str, unit: &Unit) {
        let Some(path) = unit.last("PathExists") else {
            return self.log.say(&format!("{name}: only PathExists= is watched in a simulated guest"));
        };
        let service = unit.last("Unit").map_or_else(|| name.replace(".path", ".service"), str::to_owned);
        let outside = self.guest.outside(path);
        loop {
            if !self.appears(&outside).await {
                return;
            }
            self.log.say(&format!("{name}: {path} exists, starting {service}"));
            match self.guest.must("unit file", "cat \"/etc/systemd/system/$1\"", &[&service], b"").await {
                Ok(text) => {
                    let unit = Unit::parse(&text);
                    self.note_unknown(&service, &unit);
                    self.run_service(&service, &unit).await;
                }
                Err(error) => return self.log.say(&format!("{service}: {error}")),
            }
        }
    }

    /// Returns true if the file appeared, and false if the guest ended first.
    async fn appears(&self, outside: &Path) -> bool {
        let watch = async {
            while outside.symlink_metadata().is_err() {
                // The time-out is the regular check.
                let _ = tokio::time::timeout(CHECK_PAUSE, self.check.notified()).await;
            }
        };
        tokio::select! {
            () = watch => true,
            _ = self.guest.ended() => false,
        }
    }

    async fn run_service(&self, name: &str, unit: &Unit) {
        if let Some(path) = unit.last("ConditionPathExists")
            && self.guest.outside(path).symlink_metadata().is_err()
        {
            return self.log.say(&format!("{name}: {path} does not exist"));
        }
        let mut outcome = Outcome::SUCCESS;
        for line in unit.all("ExecStart") {
            outcome = self.run_line(name, unit, line, &[]).await;
            if outcome.failed {
                break;
            }
        }
        let variables = outcome.variables();
        for line in unit.all("ExecStopPost") {
            self.run_line(name, unit, line, &variables).await;
        }
        let action = unit.last(if outcome.failed { "FailureAction" } else { "SuccessAction" }).unwrap_or("none");
        self.log.say(&format!("{name}: {}, action {action}", if outcome.failed { "failed" } else { "finished" }));
        if action.starts_with("poweroff") || action.starts_with("exit") {
            self.guest.kill().await;
        }
    }

    /// Runs one command line to its end, with additional variables.
    async fn run_line(&self, name: &str, unit: &Unit, line: &str, variables: &[(&str, String)]) -> Outcome {
        let tolerated = line.starts_with('-');
        let words = words(line.trim_start_matches(['-', '+', '@', ':', '!']));
        let Some((program, arguments)) = words.split_first() else { return Outcome::SUCCESS };
        let mut command = self.command(program, unit);
        command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
        let ended = self.follow(command).await;
        self.log.say(&format!(
            "{name}: {program}: {}",
            ended.as_ref().map_or_else(ToString::to_string, ToString::to_string)
        ));
        let status = ended.ok();
        Outcome { failed: !tolerated && !status.is_some_and(|status| status.success()), status }
    }

    fn command(&self, program: &str, unit: &Unit) -> Command {
        let mut command = match unit.last("User") {
            Some(user) => {
                let mut command = self.guest.command("setpriv");
                command.args(["--init-groups", "--reset-env", "--reuid", user, "--regid", user, "--", program]);
                command
            }
            None => self.guest.command(program),
        };
        let words = unit.all("Environment").iter().flat_map(|value| words(value));
        command.envs(
            words.filter_map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))),
        );
        command
    }

    /// Runs a command and writes its output to the log.
    async fn follow(&self, mut command: Command) -> io::Result<ExitStatus> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) {
            self.log.follow(output);
            self.log.follow(errors);
        }
        child.wait().await
    }
}

/// The end of a command line.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    failed: bool,
    /// Exit status. `None` if nothing ran.
    status: Option<ExitStatus>,
}

impl Outcome {
    const SUCCESS: Self = Self { failed: false, status: None };

    /// Returns the variables that systemd gives `ExecStopPost=`.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let signal = self.status.and_then(|status| status.signal());
        let (result, code, status) = match (signal, self.status.and_then(|status| status.code())) {
            (Some(signal), _) => ("signal", "killed", signal),
            (None, code) => (if self.failed { "exit-code" } else { "success" }, "exited", code.unwrap_or(0)),
        };
        vec![("SERVICE_RESULT", result.to_owned()), ("EXIT_CODE", code.to_owned()), ("EXIT_STATUS", status.to_string())]
    }
}

fn parse_listing(listing: &str) -> Vec<(String, Unit)> {
    let named = |part: &str| part.split_once('\n').map(|(name, text)| (name.trim().to_owned(), Unit::parse(text)));
    listing.split("=== ").filter_map(named).collect()
}

/// Splits a command line as systemd does, without its specifiers and variables.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::{Unit, parse_listing, words};

    #[test]
    fn assignments_add_up_and_an_empty_one_clears_the_list() {
        let unit = Unit::parse(
            "[Service]\nExecStart=/a b\nExecStart=\nExecStart=/c \\\n  d\n# x=y\nFailureAction=poweroff\nMade=up\n",
        );
        assert_eq!(unit.all("ExecStart"), ["/c    d"]);
        assert_eq!(unit.last("FailureAction"), Some("poweroff"));
        assert_eq!(unit.unknown().collect::<Vec<_>>(), ["Made"]);
    }

    #[test]
    fn a_listing_contains_units_by_name() {
        let units = parse_listing("=== a.path\n[Path]\nPathExists=/x\n=== b.service\n[Service]\nExecStart=/y\n");
        assert_eq!(units.len(), 2);
        assert_eq!(units[0].0, "a.path");
        assert_eq!(units[1].1.last("ExecStart"), Some("/y"));
    }

    #[test]
    fn quoted_blanks_do_not_separate_words() {
        assert_eq!(words("/bin/sh -c 'echo \"a b\"' \"\""), ["/bin/sh", "-c", "echo \"a b\"", ""]);
    }
}
