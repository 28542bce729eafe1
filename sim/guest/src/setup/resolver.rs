//! `/etc/resolv.conf`.

use super::section::{Missing, put};
use sim_backend::ContainerSetup;

/// Returns the file with the container's name servers, or else those of its node. Returns `None` if the file stays as
/// it is.
pub(super) fn edit(old: Option<&str>, setup: &ContainerSetup) -> Option<String> {
    let mut text = String::new();
    let domains = search_domains(setup);
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    let servers = setup.nameserver.as_ref().map_or_else(|| setup.node_name_servers.clone(), |list| words(list));
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    put(old, &text, Missing::Replace)
}

/// Returns the container's search domains, or else those of its node.
pub(super) fn search_domains(setup: &ContainerSetup) -> Vec<String> {
    words(setup.searchdomain.as_deref().unwrap_or(&setup.node_search))
}

/// Returns the words of a list, separated as in Proxmox VE.
fn words(list: &str) -> Vec<String> {
    let separated = list.split(|character: char| ",;".contains(character) || character.is_whitespace());
    separated.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
