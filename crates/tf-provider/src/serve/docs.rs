//! Instead of serving: the reference pages of the repository whose root is the current directory.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::handshake::COOKIE;
use crate::docs::Pages;
use crate::provider::Provider;

/// What is to be done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Write,
    Check,
}

/// What `TF_PROVIDER_DOCS` says; nothing when a core starts the program, whatever the environment that it passes on.
pub(super) fn wish(variable: impl Fn(&str) -> Option<String>) -> Option<Wish> {
    if variable(COOKIE.0).is_some() {
        return None;
    }
    match variable("TF_PROVIDER_DOCS")?.as_str() {
        "write" => Some(Wish::Write),
        "check" => Some(Wish::Check),
        _ => None,
    }
}

/// Does it and says what it did.
pub(super) fn run<P: Provider>(provider: &P, wish: Wish) -> ExitCode {
    let pages = Pages::of(provider, Path::new(""));
    let done = pages.and_then(|pages| if wish == Wish::Write { pages.write() } else { pages.stale() });
    let (text, code) = match (wish, done) {
        (_, Err(error)) => (format!("Unable to {} the reference pages: {error}", verb(wish)), ExitCode::FAILURE),
        (_, Ok(stale)) if stale.is_empty() => return ExitCode::SUCCESS,
        (wish, Ok(stale)) => {
            let names: Vec<String> = stale.iter().map(|path| path.display().to_string()).collect();
            match wish {
                Wish::Write => (format!("written or removed: {}", names.join(", ")), ExitCode::SUCCESS),
                Wish::Check => (format!("not what the schema gives: {}", names.join(", ")), ExitCode::FAILURE),
            }
        }
    };
    // Nobody is left to read an error.
    let _ = writeln!(io::stderr(), "{text}");
    code
}

fn verb(wish: Wish) -> &'static str {
    match wish {
        Wish::Write => "write",
        Wish::Check => "check",
    }
}

#[cfg(test)]
mod tests {
    use super::{COOKIE, Wish, wish};

    #[test]
    fn pages_are_for_those_who_start_it_by_hand() {
        let said = |text: &'static str| move |name: &str| (name == "TF_PROVIDER_DOCS").then(|| text.to_owned());
        assert_eq!(wish(said("write")), Some(Wish::Write));
        assert_eq!(wish(said("check")), Some(Wish::Check));
        assert_eq!(wish(said("other")), None);
        let by_core = |name: &str| (name == COOKIE.0).then(|| COOKIE.1.to_owned()).or_else(|| said("write")(name));
        assert_eq!(wish(by_core), None);
    }
}
