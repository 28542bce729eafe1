//! `/etc/hosts`.

use super::resolver::search_domains;
use super::section::{Missing, put, without};
use sim_backend::ContainerSetup;

const LOOPBACK: &str = "127.0.0.1 localhost.localnet localhost\n";
const LOOPBACK6: &str = "::1 localhost.localnet localhost\n";

/// Returns the host name up to its first dot.
pub(super) fn name_part(hostname: &str) -> &str {
    hostname.split('.').next().unwrap_or(hostname)
}

/// Returns the file with the container's names, which have its fixed address if it has one. Returns `None` if the file
/// stays as it is.
pub(super) fn edit(old: Option<&str>, setup: &ContainerSetup, address: Option<&str>) -> Option<String> {
    let own = without(old.unwrap_or_default());
    let has = |address: &str| own.lines().any(|line| line.split_whitespace().next() == Some(address));
    let mut text = String::new();
    if !has("127.0.0.1") {
        text.push_str(LOOPBACK);
    }
    if !has("::1") {
        text.push_str(LOOPBACK6);
    }
    let name = &setup.hostname;
    let names = match address {
        None if name_part(name) == "localhost" => "localhost".to_owned(),
        _ => all_names(setup),
    };
    text.push_str(&format!("{} {names}\n", address.unwrap_or("127.0.1.1")));
    put(old, &text, Missing::Append)
}

/// Returns the file without the line that images of linuxcontainers.org contain.
pub(super) fn without_placeholder(text: &str) -> String {
    let is_placeholder = |line: &str| line.split_whitespace().eq(["127.0.1.1", "LXC_NAME"]);
    let kept: Vec<&str> = text.trim_end_matches('\n').split('\n').filter(|line| !is_placeholder(line)).collect();
    kept.join("\n") + "\n"
}

fn all_names(setup: &ContainerSetup) -> String {
    let name = &setup.hostname;
    if name.contains('.') {
        return format!("{name} {}", name_part(name));
    }
    let mut names: Vec<String> = search_domains(setup).iter().map(|domain| format!("{name}.{domain}")).collect();
    names.push(name.clone());
    names.join(" ")
}
