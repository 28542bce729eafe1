//! The distribution and release that a root file system claims to be.

use std::io;

use super::interfaces::Notation;
use super::root::Root;
use sim_backend::NetworkCard;

/// A release of Alpine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Release {
    /// Major and minor number, or `None` if the file does not contain a readable version.
    version: Option<(u32, u32)>,
}

impl Release {
    /// Returns the release of Alpine in `root`, or `None` for any other system.
    ///
    /// # Errors
    /// Errors of the system.
    pub(super) fn of(root: &Root) -> io::Result<Option<Self>> {
        let release = root.read("etc/alpine-release")?;
        let os_release = match root.read("etc/os-release")? {
            Some(text) => Some(text),
            None => root.read("usr/lib/os-release")?,
        };
        let id = os_release.as_deref().and_then(id);
        if id.as_deref().map_or(release.is_none(), |id| id != "alpine") {
            return Ok(None);
        }
        Ok(Some(Self { version: version(release.as_deref().unwrap_or_default()) }))
    }

    /// Returns the notation of addresses. Releases from 3.13 on use `ifupdown-ng`, and older ones busybox's `ifup`.
    pub(super) fn notation(self) -> Notation {
        if self.version.is_some_and(|version| version >= (3, 13)) { Notation::Prefix } else { Notation::Netmask }
    }
}

/// Returns the network card as Alpine can set it up. Alpine has neither DHCP nor SLAAC for IPv6.
pub(super) fn as_alpine_can(network: &NetworkCard) -> NetworkCard {
    let mut network = network.clone();
    if matches!(network.ip6.as_deref(), Some("dhcp" | "auto")) {
        network.ip6 = Some("manual".to_owned());
    }
    network
}

fn id(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.trim_start().strip_prefix("ID="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Returns the major and minor number of the first line. A missing minor number counts as 0.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.split(|character: char| !character.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().unwrap_or_default();
    Some((major, minor.parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::{Notation, Release, id, version};

    #[test]
    fn the_first_two_numbers_are_the_version() {
        assert_eq!(version("3.12.0\n"), Some((3, 12)));
        assert_eq!(version("3\n"), Some((3, 0)));
        assert_eq!(version("edge\n"), None);
    }

    #[test]
    fn the_notation_changes_with_release_3_13() {
        let notation = |text: &str| Release { version: version(text) }.notation();
        assert_eq!(notation("3.12.12"), Notation::Netmask);
        assert_eq!(notation("3.13.0"), Notation::Prefix);
        assert_eq!(notation("3.20.0"), Notation::Prefix);
        assert_eq!(notation("edge"), Notation::Netmask);
    }

    #[test]
    fn the_id_is_read_with_and_without_quotes() {
        assert_eq!(id("NAME=x\nID=alpine\nVERSION_ID=3\n").as_deref(), Some("alpine"));
        assert_eq!(id("ID=\"alpine\"\n").as_deref(), Some("alpine"));
        assert_eq!(id("VERSION_ID=3\n"), None);
    }
}
