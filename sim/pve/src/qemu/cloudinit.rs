//! The cloud-init data that PVE generates.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::checks;
use crate::engine::{Call, Engine};
use crate::guests;
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::{Guest, Kind};

pub(crate) fn pending(engine: &Engine, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(Kind::Qemu, call.vmid(), &call.node)?;
    let keys = ["cicustom", "cipassword", "citype", "ciuser", "nameserver", "searchdomain", "sshkeys"];
    let rows: Vec<Value> = keys
        .iter()
        .filter_map(|key| {
            let value = guest.get(key)?;
            let shown = if *key == "cipassword" { "**********" } else { value };
            Some(json!({ "key": key, "value": shown }))
        })
        .collect();
    Ok(json!(rows))
}

pub(crate) fn regenerate(engine: &Engine, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(Kind::Qemu, call.vmid(), &call.node)?;
    let has_drive = guest.config.iter().any(|(key, value)| drives::is_drive(key) && drives::is_cloudinit(value));
    if has_drive {
        checks::snippets_exist(engine, &guest).map_err(Refusal::fault)?;
    }
    Ok(Value::Null)
}

pub(crate) fn dump(engine: &Engine, call: &Call) -> Outcome<Value> {
    let guest = engine.guest(Kind::Qemu, call.vmid(), &call.node)?;
    Ok(json!(match call.text("type").unwrap_or_default() {
        "user" => user(&guest, call.vmid()),
        "network" => network(&guest),
        _ => format!("instance-id: {}\n", guest.digest()),
    }))
}

fn user(guest: &Guest, vmid: u32) -> String {
    let name = guests::status::name(guest, vmid);
    let host = name.split('.').next().unwrap_or_default();
    let fqdn = match guest.get("searchdomain") {
        Some(domain) if !name.contains('.') => format!("{name}.{domain}"),
        _ => name.clone(),
    };
    let mut out = format!("#cloud-config\nhostname: {host}\nmanage_etc_hosts: true\nfqdn: {fqdn}\n");
    if let Some(user) = guest.get("ciuser") {
        let _ = writeln!(out, "user: {user}");
    }
    if guest.get("cipassword").is_some() {
        out.push_str("password: $5$JR8zJa8m$ts9jGuP9a95xM54d1gUQwSvRbsOmSnpAiXNcdjOOV28\n");
    }
    if let Some(keys) = guest.get("sshkeys") {
        out.push_str("ssh_authorized_keys:\n");
        let text = percent_encoding::percent_decode_str(keys).decode_utf8_lossy();
        for key in text.lines().filter(|line| !line.is_empty()) {
            let _ = writeln!(out, "  - {key}");
        }
    }
    out.push_str("chpasswd:\n  expire: False\nusers:\n  - default\n");
    if guest.get("ciupgrade") != Some("0") {
        out.push_str("package_upgrade: true\n");
    }
    out
}

fn network(guest: &Guest) -> String {
    let mut out = "version: 1\nconfig:\n".to_owned();
    for (key, value) in guest.config.iter().filter(|(key, _)| drives::is_net(key)) {
        let number = key.trim_start_matches("net");
        let Some(settings) = guest.get(&format!("ipconfig{number}")) else { continue };
        let mac = value
            .split(',')
            .next()
            .and_then(|first| first.split_once('='))
            .map(|(_, mac)| mac.to_lowercase())
            .unwrap_or_default();
        let _ =
            write!(out, "    - type: physical\n      name: eth{number}\n      mac_address: '{mac}'\n      subnets:\n");
        subnets(&mut out, settings);
    }
    if guest.get("nameserver").is_some() || guest.get("searchdomain").is_some() {
        out.push_str("    - type: nameserver\n");
        for (label, key) in [("address", "nameserver"), ("search", "searchdomain")] {
            if let Some(list) = guest.get(key) {
                let _ = writeln!(out, "      {label}:");
                for one in list.split_whitespace() {
                    let _ = writeln!(out, "      - '{one}'");
                }
            }
        }
    }
    out
}

fn subnets(out: &mut String, settings: &str) {
    let fields = drives::parse(settings);
    for (address, gateway, dhcp, fixed) in [("ip", "gw", "dhcp4", "static"), ("ip6", "gw6", "dhcp6", "static6")] {
        match fields.get(address).map(String::as_str) {
            None => {}
            Some("dhcp") => {
                let _ = writeln!(out, "      - type: {dhcp}");
            }
            Some("auto") => out.push_str("      - type: ipv6_slaac\n"),
            Some(cidr) => static_subnet(out, cidr, fixed, fields.get(gateway).map(String::as_str)),
        }
    }
}

fn static_subnet(out: &mut String, cidr: &str, kind: &str, gateway: Option<&str>) {
    let (ip, mask) = cidr.split_once('/').unwrap_or((cidr, "24"));
    if kind == "static6" {
        let _ = write!(out, "      - type: {kind}\n        address: '{cidr}'\n");
    } else {
        let bits: u32 = mask.parse().unwrap_or(24);
        let raw = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let _ = write!(
            out,
            "      - type: {kind}\n        address: '{ip}'\n        netmask: '{}'\n",
            std::net::Ipv4Addr::from(raw)
        );
    }
    if let Some(gateway) = gateway {
        let _ = writeln!(out, "        gateway: '{gateway}'");
    }
}
