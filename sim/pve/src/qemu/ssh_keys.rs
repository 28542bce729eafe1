//! The OpenSSH keys of a guest's root account.

use crate::params::Params;
use crate::refusal::{Outcome, Refusal};

/// Checks the percent-encoded OpenSSH keys in `sshkeys`.
pub(crate) fn check_parameter(params: &Params) -> Outcome<()> {
    let Some(encoded) = params.text("sshkeys") else { return Ok(()) };
    let text = percent_encoding::percent_decode_str(encoded).decode_utf8_lossy().into_owned();
    check(&text)
}

/// Checks OpenSSH keys, one per line.
pub(crate) fn check(text: &str) -> Outcome<()> {
    const KINDS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];
    let good = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).all(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|kind| KINDS.iter().any(|k| kind.starts_with(k)))
            && words.next().is_some_and(|key| key.starts_with("AAAA"))
    });
    if good { Ok(()) } else { Err(Refusal::fault("SSH public key validation error")) }
}
