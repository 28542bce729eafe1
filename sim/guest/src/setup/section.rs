//! The part of a file that Proxmox VE has marked as its own.

const BEGIN: &str = "# --- BEGIN PVE ---";
const END: &str = "# --- END PVE ---";

/// Place of new text in a file that does not have a marked part yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// After the existing text.
    Append,
    /// In place of the existing text.
    Replace,
}

/// Puts `text` into the marked part of `old`. Returns `None` if the file stays unchanged.
pub(super) fn put(old: Option<&str>, text: &str, missing: Missing) -> Option<String> {
    let marked = format!("{BEGIN}\n{text}{END}\n");
    let Some(old) = old else { return (!text.is_empty()).then_some(marked) };
    let lines: Vec<&str> = old.trim_end_matches('\n').split('\n').collect();
    let begin = lines.iter().position(|line| is_mark(line, "BEGIN"));
    let end = begin.and_then(|begin| (begin..lines.len()).find(|at| is_mark(lines[*at], "END")));
    let (Some(begin), Some(end)) = (begin, end) else {
        return match missing {
            _ if text.is_empty() => None,
            Missing::Replace => Some(marked),
            Missing::Append => Some(format!("{}\n{marked}", old.trim_end_matches('\n'))),
        };
    };
    if text.is_empty() && begin == 0 && end + 1 == lines.len() {
        return None;
    }
    let mut kept: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    // Without text, the real server keeps the line end of its mark, which leaves an empty line.
    let part = if text.is_empty() { marked } else { marked.trim_end_matches('\n').to_owned() };
    kept.splice(begin..=end, [part]);
    Some(kept.join("\n") + "\n")
}

/// Returns the text without marked parts.
pub(super) fn without(text: &str) -> String {
    let mut kept = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.trim_start().starts_with(BEGIN) {
            inside = true;
        }
        if !inside {
            kept.push(line);
        }
        if line.trim_start().starts_with(END) {
            inside = false;
        }
    }
    kept.join("\n")
}

/// Returns true if the line is a mark in a file of network interfaces.
pub(super) fn is_any_mark(line: &str) -> bool {
    line.starts_with(BEGIN) || line.starts_with(END)
}

/// Returns true if the line is exactly the mark that opens a part.
pub(super) fn opens(line: &str) -> bool {
    line == BEGIN
}

/// Returns true if the line is exactly the mark that closes a part.
pub(super) fn closes(line: &str) -> bool {
    line == END
}

/// Returns a marked part with these lines.
pub(super) fn marked(lines: &str) -> String {
    format!("{BEGIN}\n{lines}{END}\n")
}

fn is_mark(line: &str, which: &str) -> bool {
    let mut words = line.strip_prefix('#').unwrap_or_default().split_whitespace();
    words.next() == Some("---") && words.next() == Some(which) && words.next() == Some("PVE")
}

#[cfg(test)]
mod tests {
    use super::{Missing, put};

    const OURS: &str = "# --- BEGIN PVE ---\nours\n# --- END PVE ---\n";

    #[test]
    fn a_file_that_is_missing_is_made_only_for_some_text() {
        assert_eq!(put(None, "ours\n", Missing::Append).as_deref(), Some(OURS));
        assert_eq!(put(None, "", Missing::Append), None);
    }

    #[test]
    fn text_is_appended_or_replaces_the_file_until_there_is_a_marked_part() {
        assert_eq!(put(Some("theirs\n"), "ours\n", Missing::Append), Some(format!("theirs\n{OURS}")));
        assert_eq!(put(Some("theirs\n"), "ours\n", Missing::Replace).as_deref(), Some(OURS));
        assert_eq!(put(Some("theirs\n"), "", Missing::Replace), None);
        let old = "before\n# --- BEGIN PVE ---\nold\n# --- END PVE ---\nafter\n";
        assert_eq!(put(Some(old), "ours\n", Missing::Replace), Some(format!("before\n{OURS}after\n")));
    }

    #[test]
    fn a_file_with_only_the_marked_part_is_kept_if_there_is_no_text() {
        assert_eq!(put(Some(OURS), "", Missing::Replace), None);
    }
}
