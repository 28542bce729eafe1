//! Masking of secrets in everything that is shown, including secrets that a guest or a job printed.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

/// Length of the shortest secret. Shorter texts are not searched.
const MIN_SECRET_LENGTH: usize = 8;

const MASK: &str = "***";

/// Matches GitHub's tokens, PVE's tickets, and the base64 form of a JSON object, which registrations have.
fn forms() -> Option<&'static Regex> {
    static FORMS: OnceLock<Option<Regex>> = OnceLock::new();
    let forms =
        || Regex::new(r"github_pat_\w{8,}|gh[pousr]_\w{8,}|PVE(VNC)?:[^\s:]+:\w{8}::\S+|eyJ[\w+/.=-]{24,}").ok();
    FORMS.get_or_init(forms).as_ref()
}

/// Masks each of `secrets`, and everything with the form of a secret, in every text of `value`.
pub(super) fn redact(value: &mut Value, secrets: &[String]) {
    match value {
        Value::String(text) => redact_text(text, secrets),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, secrets)),
        Value::Object(fields) => fields.values_mut().for_each(|field| redact(field, secrets)),
        _ => {}
    }
}

fn redact_text(text: &mut String, secrets: &[String]) {
    if text.len() < MIN_SECRET_LENGTH {
        return;
    }
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_SECRET_LENGTH) {
        if text.contains(secret.as_str()) {
            *text = text.replace(secret.as_str(), MASK);
        }
    }
    if let Some(forms) = forms()
        && forms.is_match(text)
    {
        *text = forms.replace_all(text, MASK).into_owned();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_secrets_and_texts_with_the_form_of_secrets_are_masked() {
        let mut value = json!({
            "log": ["token is hunter2hunter2!", "jit eyJhZ2VudElkIjoxLCJhZ2VudE5hbWUiOiJhIn0= end"],
            "deep": { "text": "github_pat_sim_AbCdEf123 and ghs_0123456789", "short": "eyJ", "number": 7 },
            "ticket": "PVE:root@pam:66A0B1C2::c2lnbmF0dXJl+/ left",
        });
        redact(&mut value, &["hunter2hunter2".to_owned(), "eyJ".to_owned()]);
        let expected = json!({
            "log": ["token is ***!", "jit *** end"],
            "deep": { "text": "*** and ***", "short": "eyJ", "number": 7 },
            "ticket": "*** left",
        });
        assert_eq!(value, expected);
    }
}
