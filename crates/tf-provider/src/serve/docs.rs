//! Writes or checks the reference pages of the repository in the current directory, instead of serving.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::handshake::COOKIE;
use crate::docs::Pages;
use crate::provider::Provider;

/// The task: write the pages, or check them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PagesMode {
    Write,
    Check,
}

/// Returns the task in `TF_PROVIDER_DOCS`; `None` if a core starts the program, because cores pass their environment
/// on.
pub(super) fn mode(variable: impl Fn(&str) -> Option<String>) -> Option<PagesMode> {
    if variable(COOKIE.0).is_some() {
        return None;
    }
    match variable("TF_PROVIDER_DOCS")?.as_str() {
        "write" => Some(PagesMode::Write),
        "check" => Some(PagesMode::Check),
        _ => None,
    }
}

/// Runs the task and prints the result.
pub(super) fn run<P: Provider>(provider: &P, mode: PagesMode) -> ExitCode {
    let pages = Pages::of(provider, Path::new(""));
    let done = pages.and_then(|pages| if mode == PagesMode::Write { pages.write() } else { pages.stale() });
    let (text, code) = match (mode, done) {
        (_, Err(error)) => (format!("Unable to {} the reference pages: {error}", verb(mode)), ExitCode::FAILURE),
        (_, Ok(stale)) if stale.is_empty() => return ExitCode::SUCCESS,
        (mode, Ok(stale)) => {
            let names: Vec<String> = stale.iter().map(|path| path.display().to_string()).collect();
            match mode {
                PagesMode::Write => (format!("written or removed: {}", names.join(", ")), ExitCode::SUCCESS),
                PagesMode::Check => (format!("not up to date: {}", names.join(", ")), ExitCode::FAILURE),
            }
        }
    };
    // An error cannot be reported anywhere.
    let _ = writeln!(io::stderr(), "{text}");
    code
}

fn verb(mode: PagesMode) -> &'static str {
    match mode {
        PagesMode::Write => "write",
        PagesMode::Check => "check",
    }
}

#[cfg(test)]
mod tests {
    use super::{COOKIE, PagesMode, mode};

    #[test]
    fn pages_are_only_written_if_no_core_starts_the_program() {
        let said = |text: &'static str| move |name: &str| (name == "TF_PROVIDER_DOCS").then(|| text.to_owned());
        assert_eq!(mode(said("write")), Some(PagesMode::Write));
        assert_eq!(mode(said("check")), Some(PagesMode::Check));
        assert_eq!(mode(said("other")), None);
        let by_core = |name: &str| (name == COOKIE.0).then(|| COOKIE.1.to_owned()).or_else(|| said("write")(name));
        assert_eq!(mode(by_core), None);
    }
}
