//! Removes known secrets from lines.

use secrecy::{ExposeSecret as _, SecretString};

const COVER: &str = "(secret)";

/// The secrets of one run. The longest come first, so that a secret inside another one does not leave a part of it.
#[derive(Clone)]
pub(crate) struct Redactor {
    secrets: Vec<SecretString>,
}

impl Redactor {
    /// Prepares the secrets. A secret of several lines is also searched for line by line.
    pub(crate) fn new(secrets: &[SecretString]) -> Self {
        let mut all: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.expose_secret();
            all.push(secret.to_owned());
            all.extend(secret.lines().map(str::trim).filter(|line| line.len() >= 8).map(str::to_owned));
        }
        all.retain(|secret| !secret.trim().is_empty());
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        Self { secrets: all.into_iter().map(SecretString::from).collect() }
    }

    pub(crate) fn clean(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), COVER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_removed_and_a_secret_inside_another_leaves_no_part_of_it() {
        let redactor = Redactor::new(&["hunter2".into(), "hunter2-longer".into(), "".into()]);
        assert_eq!(redactor.clean("a hunter2-longer b hunter2hunter2"), "a (secret) b (secret)(secret)");
    }

    #[test]
    fn a_key_of_several_lines_is_covered_line_by_line() {
        let redactor = Redactor::new(&["-----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----\n".into()]);
        assert_eq!(redactor.clean("  null.x: abcdefghijkl"), "  null.x: (secret)");
    }
}
