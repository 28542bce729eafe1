//! Masks secrets in text that was captured from a guest.
//!
//! Known secrets are masked wherever they appear, also in part. Beyond them, everything that looks like a secret is masked,
//! because a dispatcher that was restarted no longer knows the registration of a VM.

use std::collections::HashSet;

use secrecy::{ExposeSecret as _, SecretString};

const MASK: &str = "[masked]";
/// Shortest secret that is searched for. A shorter one would mask ordinary words.
const SHORTEST_SECRET: usize = 8;
/// Shortest part of a known secret that is masked, in bytes.
const SHORTEST_PART: usize = 20;
/// Length from which a run of base64 characters is masked. The numbers of a key are longer, checksums are shorter.
const LONGEST_PLAIN: usize = 100;
/// Beginnings of GitHub's tokens (GitHub's documentation) and of the value that PVE's API takes a token in.
const PREFIXES: [&str; 8] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "Bearer ", "PVEAPIToken="];

/// Masks the secrets that a process knows, and everything that looks like one.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    secrets: Vec<SecretString>,
}

impl Redactor {
    /// Returns a redactor for these secrets.
    pub(crate) fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let is_long = |secret: &SecretString| secret.expose_secret().trim().len() >= SHORTEST_SECRET;
        Self { secrets: secrets.into_iter().filter(is_long).collect() }
    }

    /// Returns a redactor that knows one more secret.
    pub(crate) fn with(&self, secret: Option<SecretString>) -> Self {
        Self::new(self.secrets.iter().cloned().chain(secret))
    }

    /// Returns the text without secrets and without control characters.
    pub(crate) fn redact(&self, content: &[u8]) -> String {
        let text = printable(&String::from_utf8_lossy(content));
        let known = self.secrets.iter().map(|secret| secret.expose_secret().trim());
        let text = known.fold(text, |text, secret| text.replace(secret, MASK));
        let text = PREFIXES.iter().fold(text, |text, prefix| without_token(&text, prefix));
        self.without_runs(&text)
    }

    /// Masks parts of known secrets, and long runs of base64 characters.
    fn without_runs(&self, text: &str) -> String {
        let secrets = self.secrets.iter().map(|secret| secret.expose_secret().as_bytes());
        let parts: HashSet<&[u8]> = secrets.flat_map(|secret| secret.windows(SHORTEST_PART)).collect();
        let has_part = |run: &str| run.as_bytes().windows(SHORTEST_PART).any(|part| parts.contains(part));
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find(is_base64) {
            masked.push_str(&rest[..begin]);
            rest = &rest[begin..];
            let run = &rest[..rest.find(|character| !is_base64(character)).unwrap_or(rest.len())];
            masked.push_str(if run.len() >= LONGEST_PLAIN || has_part(run) { MASK } else { run });
            rest = &rest[run.len()..];
        }
        masked + rest
    }
}

/// Masks each run of base64 characters that follows the prefix.
fn without_token(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = |character| !is_base64(character) && !matches!(character, '.' | '!' | '@');
        let token = part.find(ends).unwrap_or(part.len());
        masked.push_str(prefix);
        masked.push_str(if token == 0 { "" } else { MASK });
        masked.push_str(&part[token..]);
    }
    masked
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=' | '_' | '-')
}

/// Returns the text without terminal escapes. Line ends of a terminal become those of a file.
fn printable(text: &str) -> String {
    let keeps = |character: char| match character {
        '\n' | '\t' => character,
        character if character.is_control() => '?',
        character => character,
    };
    text.replace("\r\n", "\n").replace('\r', "\n").chars().map(keeps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JIT: &str = "eyIucnVubmVyIjoiZXdvZ0lDSjNaV0pJYjI5clZYSnNJam9pYUhSMGNITTZMeTh";

    fn redactor() -> Redactor {
        let secrets = [
            "11111111-2222-3333-4444-555555555555",
            "ghp_cccccccccccccccc",
            "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEAxyz0123456789\n",
        ];
        Redactor::new(secrets.map(Into::into)).with(Some(JIT.into()))
    }

    #[test]
    fn known_secrets_are_masked_also_in_part_and_next_to_other_text() {
        let text = format!("a={JIT}; token 11111111-2222-3333-4444-555555555555, x{}y", &JIT[10..40]);
        let cut_off = format!("{}\n{}", &JIT[30..], &JIT[..25]);
        let masked = redactor().redact(text.as_bytes()) + &redactor().redact(cut_off.as_bytes());
        for secret in [&JIT[..25], &JIT[30..], &JIT[10..40], "11111111-2222"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(masked.starts_with("a=[masked]; token [masked], [masked]"), "{masked}");
        assert_eq!(redactor().redact(b"MIIEpAIBAAKCAQEAxyz0123456789"), "[masked]", "a line of a key");
    }

    #[test]
    fn a_process_that_knows_no_secret_masks_what_looks_like_one() {
        let long = "QUJD".repeat(30);
        let text = format!("jit {long}\nghs_abcDEF123 Bearer aaa.bbb-ccc PVEAPIToken=a@pve!b=1234 end");
        let expected = "jit [masked]\nghs_[masked] Bearer [masked] PVEAPIToken=[masked] end";
        assert_eq!(Redactor::default().redact(text.as_bytes()), expected);
    }

    #[test]
    fn ordinary_text_stays() {
        let text = "2026-01-02 03:04:05Z INFO Listener] sha 0123456789abcdef0123456789abcdef01234567\n\tlogin: ü";
        assert_eq!(redactor().redact(text.as_bytes()), text);
    }

    #[test]
    fn terminal_escapes_cannot_act_on_the_terminal_of_a_reader() {
        assert_eq!(redactor().redact(b"\x1b[2Jlogin:\r\n\x07\xff"), "?[2Jlogin:\n?\u{fffd}");
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", redactor()).contains(JIT));
    }
}
