//! Packer's machine-readable stream: `unix-time,target,category,argument,…`.

/// Level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A step of the build.
    Say,
    /// Output of a provisioner, or details.
    Message,
    /// An error line of Packer. A provisioner's standard error has this level too.
    Error,
}

/// An event of Packer, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A line for people.
    Line {
        /// Level of the line.
        level: Level,
        /// The text, without Packer's time stamp.
        text: String,
    },
    /// A build ended with this error.
    BuildError {
        /// Name of the build, as in `proxmox-iso.ubuntu`.
        target: String,
        /// Last message of the builder or the provisioner.
        message: String,
    },
    /// Id of an artifact. The Proxmox builders report the VMID in decimal. The event occurs twice if a manifest is
    /// written.
    ArtifactId {
        /// Name of the build.
        target: String,
        /// The builder's id of the artifact.
        id: String,
    },
}

/// Reads one line. Returns `None` if the line is not machine-readable or has no event of interest.
pub(crate) fn parse(line: &str) -> Option<Event> {
    let mut fields = line.trim_end_matches(['\n', '\r']).splitn(4, ',');
    let (time, target, category) = (fields.next()?, fields.next()?, fields.next()?);
    if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let arguments: Vec<String> = fields.next().unwrap_or_default().split(',').map(unescape).collect();
    match (category, arguments.as_slice()) {
        ("ui", [kind, text]) => Some(Event::Line { level: level(kind)?, text: without_time_stamp(text).to_owned() }),
        ("error", [message]) => Some(Event::BuildError { target: target.to_owned(), message: message.clone() }),
        ("artifact", [_, key, id]) if key == "id" => {
            Some(Event::ArtifactId { target: target.to_owned(), id: id.clone() })
        }
        _ => None,
    }
}

fn level(kind: &str) -> Option<Level> {
    match kind {
        "say" => Some(Level::Say),
        "message" => Some(Level::Message),
        "error" => Some(Level::Error),
        _ => None,
    }
}

fn unescape(argument: &str) -> String {
    argument.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
}

/// Removes `2026-11-23T01:14:55Z: `, the prefix that `-timestamp-ui` adds.
fn without_time_stamp(text: &str) -> &str {
    let Some((stamp, rest)) = text.split_once(": ") else { return text };
    let looks_right = (20..=25).contains(&stamp.len())
        && stamp.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            0..=18 => byte.is_ascii_digit(),
            _ => true,
        });
    if looks_right { rest } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(level: Level, text: &str) -> Option<Event> {
        Some(Event::Line { level, text: text.to_owned() })
    }

    #[test]
    fn lines_of_a_recorded_stream_are_read() {
        assert_eq!(
            parse("1795396495,,ui,message,2026-11-23T01:14:55Z:     null.x: hello%!(PACKER_COMMA) a%!(PACKER_COMMA)b"),
            line(Level::Message, "    null.x: hello, a,b")
        );
        assert_eq!(parse("1795396495,,ui,say,\\n==> Wait completed"), line(Level::Say, "\n==> Wait completed"));
        assert_eq!(
            parse("1795396495,null.x,error,Script exited with non-zero exit status: 3.Allowed exit codes are: [0]"),
            Some(Event::BuildError {
                target: "null.x".to_owned(),
                message: "Script exited with non-zero exit status: 3.Allowed exit codes are: [0]".to_owned()
            })
        );
        assert_eq!(
            parse("1795396495,proxmox-iso.ubuntu,artifact,0,id,9001\n"),
            Some(Event::ArtifactId { target: "proxmox-iso.ubuntu".to_owned(), id: "9001".to_owned() })
        );
        assert_eq!(parse("1795396495,null.x,artifact,0,end"), None);
        assert_eq!(parse("1795396495,,error-count,1"), None);
    }

    #[test]
    fn other_text_is_not_an_event() {
        for text in ["", "hello", "a,b,ui,say,x", ",,ui,say,x", "2026/11/23 panic: runtime error"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_colon_in_the_text_is_not_a_time_stamp() {
        assert_eq!(parse("1,,ui,error,Error: x: y"), line(Level::Error, "Error: x: y"));
    }

    proptest! {
        #[test]
        fn escaped_text_is_restored(text in "[ -~&&[^\\\\%]]{0,40}", more in "[a-z,\n]{0,20}") {
            let whole = format!("x{text}{more}");
            let escaped = whole.replace(',', "%!(PACKER_COMMA)").replace('\n', "\\n");
            let parsed = parse(&format!("1795396495,,ui,say,2026-11-23T01:14:55Z: {escaped}"));
            prop_assert_eq!(parsed, line(Level::Say, &whole));
        }

        #[test]
        fn no_input_panics(text in any::<String>()) {
            let _ = parse(&text);
            let _ = parse(&format!("1,{text}"));
        }
    }
}
