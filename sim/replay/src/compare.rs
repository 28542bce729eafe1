//! Placeholders of recordings, and the comparison of recorded with actual answers.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

/// The values of one scenario's placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings {
    pub(super) values: HashMap<String, String>,
    /// Actual console ports by recorded ones.
    pub(super) ports: HashMap<String, String>,
    /// True if the recorder shortened the lists of the current body.
    pub(super) cut: bool,
}

/// Figures without meaning in the recorded laboratory.
fn is_noise(key: &str) -> bool {
    matches!(
        key,
        "cpu"
            | "mem"
            | "memhost"
            | "netin"
            | "netout"
            | "uptime"
            | "diskread"
            | "diskwrite"
            | "used"
            | "avail"
            | "swap"
    ) || ["pressure", "rx-", "tx-"].iter().any(|stem| key.starts_with(stem))
}

/// Lines that only show the speed of the recorded laboratory.
pub(super) fn is_progress(line: &str) -> bool {
    const SPEED: [&str; 12] = [
        "transferred ",
        "Total bytes",
        "Number of ",
        "Total file size",
        "Total transferred",
        "Literal data",
        "Matched data",
        "File list",
        "sent ",
        "total size is",
        "--20",
        "Superblock ",
    ];
    line.is_empty() || SPEED.iter().any(|stem| line.starts_with(stem)) || line.contains(" files (0.0% non-contiguous)")
}

impl Bindings {
    /// Compares two values, and binds placeholders that are not bound yet. The error describes the difference and its
    /// place.
    pub(super) fn matches(&mut self, want: &Value, have: &Value, at: &str) -> Result<(), String> {
        let key = at.rsplit('.').next().unwrap_or_default();
        match (want, have) {
            (Value::Object(want), Value::Object(have)) => {
                let cut = self.cut || want.get("cut").is_some();
                self.cut = cut;
                for (key, value) in want.iter().filter(|(key, _)| *key != "cut") {
                    let Some(other) = have.get(key) else { return Err(format!("{at}.{key}: missing")) };
                    if cut && value.is_array() {
                        self.subset(value, other, &format!("{at}.{key}"))?;
                    } else if !(cut && key == "total") {
                        self.matches(value, other, &format!("{at}.{key}"))?;
                    }
                }
                let more = have.keys().find(|key| !want.contains_key(*key));
                if let Some(key) = more.filter(|_| !cut && want.get("cut").is_none()) {
                    return Err(format!("{at}.{key}: not expected ({})", have[key]));
                }
                Ok(())
            }
            (Value::Array(_), Value::Array(_)) if self.cut => self.subset(want, have, at),
            (Value::Array(want), Value::Array(have)) => self.lists(want, have, at),
            (Value::String(text), have) if text == "(list)" && have.is_array() => Ok(()),
            (Value::String(text), Value::Number(number)) if text.starts_with("${n:") => {
                self.bind(text, &number.to_string(), at)
            }
            (Value::String(_) | Value::Number(_), Value::Number(_)) if is_noise(key) => Ok(()),
            (Value::Number(want), Value::Number(have))
                if want.as_u64().is_some_and(|n| n > 1 << 60) && have.as_u64().is_some_and(|n| n > 1 << 60) =>
            {
                Ok(())
            }
            (Value::Number(_), Value::Number(_))
                if key == "total" && at.matches('.').count() <= 1 && want.as_i64().is_some_and(|n| n > 60) =>
            {
                Ok(())
            }
            (Value::String(want), Value::String(have)) => self.text(want, have, at, key),
            _ if want == have => Ok(()),
            (Value::Array(names), Value::Object(fields)) if names.iter().all(Value::is_string) => {
                // Recorded as a list of keys.
                let missing = names.iter().filter_map(Value::as_str).find(|name| !fields.contains_key(*name));
                missing.map_or(Ok(()), |name| Err(format!("{at}.{name}: missing")))
            }
            _ => Err(format!("{at}: {} instead of {}", short(have), short(want))),
        }
    }

    fn subset(&mut self, want: &Value, have: &Value, at: &str) -> Result<(), String> {
        let (Some(want), Some(have)) = (want.as_array(), have.as_array()) else { return self.matches(want, have, at) };
        for (index, one) in want.iter().enumerate() {
            let fits = have.iter().any(|other| self.clone().matches(one, other, at).is_ok());
            if !fits {
                return Err(format!("{at}[{index}]: nothing like {}", short(one)));
            }
        }
        Ok(())
    }

    /// Compares lists in order if possible, otherwise as sets.
    fn lists(&mut self, want: &[Value], have: &[Value], at: &str) -> Result<(), String> {
        if want.len() != have.len() {
            return Err(format!("{at}: {} entries instead of {}", have.len(), want.len()));
        }
        let mut ordered = self.clone();
        let in_order = want
            .iter()
            .zip(have)
            .enumerate()
            .try_for_each(|(i, (want, have))| ordered.matches(want, have, &format!("{at}[{i}]")));
        let Err(difference) = in_order else {
            *self = ordered;
            return Ok(());
        };
        let mut left: Vec<&Value> = have.iter().collect();
        let mut tried = self.clone();
        for one in want {
            let found = left.iter().position(|other| {
                let mut attempt = tried.clone();
                let fits = attempt.matches(one, other, at).is_ok();
                if fits {
                    tried = attempt;
                }
                fits
            });
            match found {
                Some(index) => {
                    left.remove(index);
                }
                None => return Err(format!("{difference} (no entry like {})", short(one))),
            }
        }
        *self = tried;
        Ok(())
    }

    fn text(&mut self, want: &str, have: &str, at: &str, key: &str) -> Result<(), String> {
        if key == "port" && want.starts_with("59") && have.starts_with("59") {
            self.ports.insert(want.to_owned(), have.to_owned());
            return Ok(());
        }
        if want == have || (key == "password" && have.len() == 8) {
            return Ok(());
        }
        if key == "ticket" && want.contains(":${vncticket") {
            return if have.contains(":PVEVNC:") { Ok(()) } else { Err(format!("{at}: {have:?} instead of {want:?}")) };
        }
        if key == "content" && want.contains(',') {
            let sorted = |text: &str| {
                let mut parts: Vec<String> = text.split(',').map(str::to_owned).collect();
                parts.sort();
                parts
            };
            if sorted(want) == sorted(have) {
                return Ok(());
            }
        }
        if let Some(length) =
            want.strip_prefix("${string of ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok())
        {
            return if have.chars().count() == length {
                Ok(())
            } else {
                Err(format!("{at}: {} characters", have.chars().count()))
            };
        }
        if want.starts_with("${n:") && want.find('}') == Some(want.len() - 1) {
            return Err(format!("{at}: the text {have:?} instead of a number"));
        }
        if want.starts_with("${") && want.find('}') == Some(want.len() - 1) {
            return self.bind(want, have, at);
        }
        self.pattern(want, have, at)
    }

    /// Returns true if every placeholder of a text has its value.
    pub(super) fn knows(&self, text: &str) -> bool {
        text.split("${").skip(1).all(|rest| {
            let name = rest.split('}').next().unwrap_or_default();
            self.values.contains_key(name) || self.values.contains_key(name.trim_start_matches("n:"))
        })
    }

    fn bind(&mut self, placeholder: &str, have: &str, at: &str) -> Result<(), String> {
        let name = placeholder.trim_start_matches("${").trim_end_matches('}').to_owned();
        if !name.ends_with(|c: char| c.is_ascii_digit()) {
            return Ok(());
        }
        if name.starts_with("csrf") || name.starts_with("ticket") {
            // These contain the second of their creation.
            self.values.insert(name, have.to_owned());
            return Ok(());
        }
        match self.values.get(&name) {
            Some(known) if known != have => Err(format!("{at}: {have} instead of {known} ({name})")),
            Some(_) => Ok(()),
            None => {
                self.values.insert(name, have.to_owned());
                Ok(())
            }
        }
    }

    fn pattern(&mut self, want: &str, have: &str, at: &str) -> Result<(), String> {
        let mut names = Vec::new();
        let mut pattern = String::from("(?s)^");
        let mut rest = want;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            pattern.push_str(&free(&rest[..start]));
            names.push(rest[start + 2..start + length].to_owned());
            pattern.push_str("(.+?)");
            rest = &rest[start + length + 1..];
        }
        pattern.push_str(&free(rest));
        pattern.push('$');
        let differs = || format!("{at}: {have:?} instead of {want:?}");
        let regex = Regex::new(&pattern).map_err(|_| differs())?;
        let found = regex.captures(have).ok_or_else(differs)?;
        for (index, name) in names.iter().enumerate() {
            let value = found.get(index + 1).map_or("", |m| m.as_str());
            self.bind(&format!("${{{name}}}"), value, at)?;
        }
        Ok(())
    }

    /// Compares logs without lines that only show progress.
    pub(super) fn logs(&mut self, want: &[String], have: &[String]) -> Result<(), String> {
        let keep = |lines: &[String]| -> Vec<Value> {
            lines.iter().filter(|line| !is_progress(line)).map(|line| Value::String(line.clone())).collect()
        };
        let (want, have) = (keep(want), keep(have));
        if want.len() != have.len() {
            let first = want
                .iter()
                .zip(&have)
                .position(|(a, b)| self.clone().matches(a, b, "").is_err())
                .unwrap_or(want.len().min(have.len()));
            let show = |lines: &[Value]| lines.get(first).map_or("nothing".to_owned(), short);
            return Err(format!(
                "log: {} lines instead of {}; line {}: {} instead of {}",
                have.len(),
                want.len(),
                first + 1,
                show(&have),
                show(&want)
            ));
        }
        want.iter()
            .zip(&have)
            .enumerate()
            .try_for_each(|(i, (want, have))| self.matches(want, have, &format!("log[{i}]")))
    }
}

/// Compares literal text, except for addresses that no recording can fix.
fn free(text: &str) -> String {
    let mut out = regex::escape(text);
    for (pattern, instead) in [
        (r"10\\\.78\\\.0\\\.(1[0-9]{2}|2[0-9]{2})", r"10\.78\.0\.[0-9]+"),
        (r"fe80::[0-9a-f:]+", "fe80::[0-9a-f:]+"),
        (r"127\\\.0\\\.0\\\.1:[0-9]+", r"127\.0\.0\.1:[0-9]+"),
        (r"(termproxy|port) '?59[0-9]{2}", "$1 '?59[0-9]{2}"),
        (r"\\\$5\\\$[A-Za-z0-9./]+\\\$[A-Za-z0-9./]+", r"\$5\$[A-Za-z0-9./]+\$[A-Za-z0-9./]+"),
    ] {
        if let Ok(regex) = Regex::new(pattern) {
            out = regex
                .replace_all(&out, |found: &regex::Captures<'_>| {
                    instead.replace("$1", found.get(1).map_or("", |m| m.as_str()))
                })
                .into_owned();
        }
    }
    out
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 160 { format!("{}…", text.chars().take(160).collect::<String>()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_placeholder_must_mean_the_same() {
        let mut bindings = Bindings::default();
        assert!(
            bindings
                .matches(&json!({ "a": "${uuid1}", "b": "x ${uuid1}" }), &json!({ "a": "u", "b": "x u" }), "")
                .is_ok()
        );
        assert!(bindings.matches(&json!("${uuid1}"), &json!("v"), "").is_err());
    }

    #[test]
    fn lists_compare_as_sets_and_numbers_keep_their_type() {
        let mut bindings = Bindings::default();
        assert!(bindings.matches(&json!([{ "id": 1 }, { "id": 2 }]), &json!([{ "id": 2 }, { "id": 1 }]), "").is_ok());
        assert!(bindings.matches(&json!({ "pid": "${n:pid1}" }), &json!({ "pid": "7" }), "").is_err());
        assert!(bindings.matches(&json!([1, 2]), &json!([1]), "").is_err());
    }
}
