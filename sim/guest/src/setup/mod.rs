//! The files that Proxmox VE writes into a container: `/etc/network/interfaces`, host name, hosts, resolver, getty lines.
//!
//! The real server edits them when it creates a container and before each start, as `PVE::LXC::Setup` says for the
//! distribution and release that the archive claims. Only Alpine is simulated. Any other root file system is handled
//! like one that the real server does not manage, so nothing is written.
//!
//! This module must never touch a file outside of the container. Links are resolved as in a chroot.

mod hosts;
mod inittab;
mod interfaces;
mod release;
mod resolver;
mod root;
mod section;

use std::io;
use std::path::Path;

use self::release::Release;
use self::root::Root;
use sim_backend::ContainerSetup;

const HOSTNAME: &str = "etc/hostname";
const HOSTS: &str = "etc/hosts";
const INITTAB: &str = "etc/inittab";
const INTERFACES: &str = "etc/network/interfaces";
const RESOLVER: &str = "etc/resolv.conf";

/// Writes the files that the real server writes before a container's start.
///
/// # Errors
/// Errors of the system, with the file.
pub(super) fn before_start(directory: &Path, setup: &ContainerSetup) -> io::Result<()> {
    let root = Root::open(directory)?;
    let Some(release) = Release::of(&root)? else { return Ok(()) };
    root.write("fastboot", "")?;
    write(&root, setup, release)
}

/// Writes the files that the real server writes into a container that it has just unpacked.
///
/// # Errors
/// Errors of the system, with the file.
pub(super) fn after_create(directory: &Path, setup: &ContainerSetup) -> io::Result<()> {
    let root = Root::open(directory)?;
    let Some(release) = Release::of(&root)? else { return Ok(()) };
    if let Some(hosts) = root.read(HOSTS)? {
        root.write(HOSTS, &hosts::without_placeholder(&hosts))?;
    }
    write(&root, setup, release)
}

fn write(root: &Root, setup: &ContainerSetup, release: Release) -> io::Result<()> {
    if let Some(inittab) = root.read(INITTAB)? {
        root.write(INITTAB, &inittab::with_terminals(&inittab, setup.terminals))?;
    }
    let networks: Vec<_> = setup.networks.iter().map(release::as_alpine_can).collect();
    if let Some(text) = interfaces::edit(root.read(INTERFACES)?.as_deref(), &networks, release.notation()) {
        root.make_directories("etc/network")?;
        root.write(INTERFACES, &text)?;
    }
    if let Some(text) = hosts::edit(root.read(HOSTS)?.as_deref(), setup, primary_address(setup)) {
        root.write(HOSTS, &text)?;
    }
    root.write(HOSTNAME, &format!("{}\n", hosts::name_part(&setup.hostname)))?;
    if let Some(text) = resolver::edit(root.read(RESOLVER)?.as_deref(), setup) {
        root.write(RESOLVER, &text)?;
    }
    Ok(())
}

/// Returns the fixed address of the first network card, IPv4 before IPv6.
fn primary_address(setup: &ContainerSetup) -> Option<&str> {
    let card = setup.networks.iter().find(|network| network.index == 0)?;
    let fixed = card.ip.as_deref().filter(|ip| !matches!(*ip, "dhcp" | "manual"));
    let fixed = fixed.or_else(|| card.ip6.as_deref().filter(|ip| !matches!(*ip, "auto" | "dhcp" | "manual")));
    fixed.map(|text| text.split_once('/').map_or(text, |(address, _)| address))
}

#[cfg(test)]
mod tests;
