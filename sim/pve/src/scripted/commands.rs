//! The programs of a scripted guest.

use sim_backend::AgentReply;

/// Runs a command as a guest with the usual programs would, or returns `None` if there is no such program.
pub(super) fn run(command: &[String], input: &[u8]) -> Option<AgentReply> {
    let (program, arguments) = command.split_first()?;
    let name = ["/bin/", "/usr/bin/"].iter().find_map(|directory| program.strip_prefix(directory)).unwrap_or(program);
    Some(match name {
        "sh" => shell(arguments.get(1).map_or("", String::as_str)),
        "cat" => ended(0, input, b""),
        "echo" => ended(0, format!("{}\n", arguments.join(" ")).as_bytes(), b""),
        "false" => ended(1, b"", b""),
        "true" | "ls" => ended(0, b"", b""),
        _ => return None,
    })
}

fn ended(code: i32, out: &[u8], err: &[u8]) -> AgentReply {
    AgentReply::Exited { exited: true, code: Some(code), signal: None, out: out.to_vec(), err: err.to_vec() }
}

/// Runs the few shell lines that have an effect; everything else succeeds silently.
fn shell(script: &str) -> AgentReply {
    if script.contains("kill -9 $$") {
        return AgentReply::Exited { exited: true, code: None, signal: Some(9), out: Vec::new(), err: Vec::new() };
    }
    if let Some(count) = script.strip_prefix("head -c ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok())
    {
        return ended(0, &vec![b'a'; count], b"");
    }
    if script.starts_with('/') && !script.contains(' ') {
        return ended(127, b"", format!("/bin/sh: {script}: not found\n").as_bytes());
    }
    let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), 0);
    for part in script.split(';').map(str::trim) {
        if let Some(text) = part.strip_prefix("echo ") {
            match text.strip_suffix(" >&2") {
                Some(text) => err.extend_from_slice(format!("{text}\n").as_bytes()),
                None => out.extend_from_slice(format!("{text}\n").as_bytes()),
            }
        }
        if let Some(text) = part.strip_prefix("printf \"").and_then(|p| p.strip_suffix('"')) {
            out.extend(escapes(text));
        }
        if let Some(number) = part.strip_prefix("exit ") {
            code = number.parse().unwrap_or(0);
        }
    }
    ended(code, &out, &err)
}

/// Replaces the escapes of `printf`, such as `\377` and `\n`.
fn escapes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let digits: String = rest.chars().take(3).take_while(|c| c.is_digit(8)).collect();
        if digits.is_empty() {
            out.push(if rest.starts_with('n') { b'\n' } else { b'\\' });
            rest = rest.get(1..).unwrap_or_default();
        } else {
            out.push(u8::try_from(u32::from_str_radix(&digits, 8).unwrap_or(0)).unwrap_or(0));
            rest = &rest[digits.len()..];
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
