//! Finds mistakes in cloud-init data at plan time.

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::schema;
use crate::yaml::Document;

/// A mistake that cloud-init would reject or ignore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the checked text, from 1. It is 0 if the mistake has no line.
    pub line: u64,
    /// Place in the data, as in `users[0].lock_passwd`. Empty for the document itself.
    pub path: String,
    /// The mistake and, where known, its correction.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line > 0 {
            write!(formatter, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Checks user-data or vendor-data. Compares cloud-config with cloud-init's schema. Accepts scripts, includes and the
/// other kinds that cloud-init recognises by their first line as they are. Returns an empty list if there is no
/// mistake.
#[must_use]
pub fn check_user_data(text: &str) -> Vec<Problem> {
    let first = text.lines().next().unwrap_or_default();
    match Kind::of(text, first) {
        Kind::CloudConfig => check_cloud_config(text),
        Kind::Multipart => check_multipart(text),
        Kind::Opaque => Vec::new(),
        Kind::Unknown => vec![unknown_kind(first)],
    }
}

/// Checks a network-config, which is YAML of version 1 (`config`) or 2 (netplan's keys).
#[must_use]
pub fn check_network_config(text: &str) -> Vec<Problem> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return vec![Problem { line: error.line, path: String::new(), message: error.message }],
    };
    // The data may be below the key `network`, as in netplan's own files.
    let (body, prefix) = match document.value.get("network") {
        Some(inner) => (inner, "/network"),
        None => (&document.value, ""),
    };
    let problem = |pointer: &str, message: String| {
        vec![Problem { line: document.line_of(pointer), path: readable(pointer), message }]
    };
    match body.get("version").and_then(Value::as_u64) {
        Some(1) if body.get("config").is_some_and(|config| config.is_array() || config == "disabled") => Vec::new(),
        Some(1) => problem(prefix, "network-config version 1 needs a list `config`".to_owned()),
        Some(2) => check_netplan(body, prefix, &document),
        _ => problem(prefix, "network-config needs `version: 1` or `version: 2`".to_owned()),
    }
}

fn check_netplan(body: &Value, prefix: &str, document: &Document) -> Vec<Problem> {
    const KNOWN: &[&str] = &[
        "version",
        "renderer",
        "ethernets",
        "bonds",
        "bridges",
        "vlans",
        "wifis",
        "tunnels",
        "vrfs",
        "modems",
        "nm-devices",
        "dummy-devices",
        "openvswitch",
        "virtual-ethernets",
    ];
    let Some(keys) = body.as_object() else { return Vec::new() };
    keys.keys()
        .filter(|key| !KNOWN.contains(&key.as_str()))
        .map(|key| {
            let pointer = format!("{prefix}/{key}");
            let message = format!("unknown key; network-config version 2 knows {}", KNOWN.join(", "));
            Problem { line: document.line_of(&pointer), path: readable(&pointer), message }
        })
        .collect()
}

enum Kind {
    CloudConfig,
    Multipart,
    Opaque,
    Unknown,
}

impl Kind {
    /// Returns the kind of the data by its first line, as cloud-init does (`cloudinit/handlers/__init__.py`, `INCLUSION_TYPES_MAP`).
    fn of(text: &str, first: &str) -> Self {
        const OPAQUE: &[&str] = &[
            "#!",
            "#include",
            "#upstart-job",
            "#part-handler",
            "#cloud-boothook",
            "#cloud-config-archive",
            "#cloud-config-jsonp",
            "## template: jinja",
        ];
        if OPAQUE.iter().any(|start| first.starts_with(start)) {
            return Self::Opaque;
        }
        if first.trim_end() == "#cloud-config" {
            return Self::CloudConfig;
        }
        let header = text
            .lines()
            .take_while(|line| !line.trim().is_empty())
            .any(|line| line.to_ascii_lowercase().starts_with("content-type:"));
        if header { Self::Multipart } else { Self::Unknown }
    }
}

fn unknown_kind(first: &str) -> Problem {
    let message = if first.trim().is_empty() {
        "the first line is empty; it must be `#cloud-config` (or `#!` of a script, or a MIME header)".to_owned()
    } else if first.to_ascii_lowercase().replace([' ', '_'], "").starts_with("#cloudconfig")
        || first.starts_with("# cloud-config")
    {
        format!("the first line is `{}`; cloud-init requires exactly `#cloud-config`", first.trim_end())
    } else {
        "cloud-init does not recognise this data: the first line must be `#cloud-config`, `#!` of a script, or a MIME header".to_owned()
    };
    Problem { line: 1, path: String::new(), message }
}

fn check_multipart(text: &str) -> Vec<Problem> {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", " ");
    let boundary = unfolded.lines().take_while(|line| !line.trim().is_empty()).find_map(|line| {
        line.split_once("boundary=")
            .map(|(_, rest)| rest.split(';').next().unwrap_or(rest).trim().trim_matches('"').to_owned())
    });
    let Some(boundary) = boundary else {
        // The data is a single part with its own header.
        return Vec::new();
    };
    let (opening, closing) = (format!("--{boundary}"), format!("--{boundary}--"));
    if !text.lines().any(|line| line.trim_end() == opening) {
        return vec![Problem {
            line: 1,
            path: String::new(),
            message: format!("no part begins with the boundary `{opening}`"),
        }];
    }
    if !text.lines().any(|line| line.trim_end() == closing) {
        let line = u64::try_from(text.lines().count()).unwrap_or(0);
        return vec![Problem {
            line,
            path: String::new(),
            message: format!("the closing boundary `{closing}` is missing"),
        }];
    }
    Vec::new()
}

fn check_cloud_config(text: &str) -> Vec<Problem> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return vec![Problem { line: error.line, path: String::new(), message: error.message }],
    };
    if document.value.is_null() {
        return Vec::new();
    }
    if !document.value.is_object() {
        return vec![Problem {
            line: document.line_of(""),
            path: String::new(),
            message: "cloud-config must be a mapping of keys".to_owned(),
        }];
    }
    let Some(validator) = schema::validator(&document.value) else { return Vec::new() };
    let mut problems = unknown_keys(&document);
    for error in validator.iter_errors(&document.value) {
        collect(&error, &document, &mut problems);
    }
    problems
        .sort_by(|left, right| (left.line, &left.path, &left.message).cmp(&(right.line, &right.path, &right.message)));
    problems.dedup();
    problems
}

fn collect(error: &jsonschema::ValidationError<'_>, document: &Document, problems: &mut Vec<Problem>) {
    let pointer = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                let pointer = format!("{pointer}/{key}");
                problems.push(Problem {
                    line: document.line_of(&pointer),
                    path: readable(&pointer),
                    message: "unknown key".to_owned(),
                });
            }
        }
        _ => problems.push(Problem {
            line: document.line_of(pointer),
            path: readable(pointer),
            message: shortened(&error.to_string()),
        }),
    }
}

/// Finds unknown top-level keys. The schema accepts them and cloud-init ignores them, so a guest would silently skip a
/// misspelt `runcmd`.
fn unknown_keys(document: &Document) -> Vec<Problem> {
    let Some(keys) = document.value.as_object() else { return Vec::new() };
    let known = schema::known_keys();
    keys.keys()
        .filter(|key| !known.contains(*key))
        .map(|key| {
            let close =
                known.iter().map(|name| (distance(key, name), name)).filter(|(distance, _)| *distance <= 2).min();
            let message = match close {
                Some((_, name)) => format!("cloud-config has no such key; did you mean `{name}`?"),
                None => "cloud-config has no such key".to_owned(),
            };
            Problem { line: document.line_of(&format!("/{key}")), path: key.clone(), message }
        })
        .collect()
}

/// Returns the Levenshtein distance of two words, for the hint.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// Shortens an error of the schema, which repeats the whole value, so that it fits into a plan.
fn shortened(message: &str) -> String {
    const LONGEST: usize = 300;
    if message.chars().count() <= LONGEST {
        return message.to_owned();
    }
    let (start, end): (String, String) =
        (message.chars().take(LONGEST / 2).collect(), message.chars().rev().take(LONGEST / 3).collect());
    format!("{start} … {}", end.chars().rev().collect::<String>())
}

/// Turns `/users/0/name` into `users[0].name`.
fn readable(pointer: &str) -> String {
    let mut out = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.chars().all(|character| character.is_ascii_digit()) {
            out.push_str(&format!("[{part}]"));
            continue;
        }
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(&part);
    }
    out
}

#[cfg(test)]
mod tests;
