//! `GET /nodes/{node}/lxc/{vmid}/interfaces`.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use crate::engine::{Call, Engine};
use crate::world::drives;
use crate::world::state::Kind;

pub(crate) fn interfaces(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let Some(guest) = state.guests.get(&call.vmid()).filter(|guest| guest.kind == Kind::Lxc && guest.run.is_some())
    else {
        return Value::Null;
    };
    let mut rows = vec![json!({
        "name": "lo", "hwaddr": "00:00:00:00:00:00", "hardware-address": "00:00:00:00:00:00", "inet": "127.0.0.1/8", "inet6": "::1/128",
        "ip-addresses": [{ "ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": "8" }, { "ip-address": "::1", "ip-address-type": "inet6", "prefix": "128" }],
    })];
    for (_, value) in guest.config.iter().filter(|(key, _)| drives::is_net(key)) {
        let fields = drives::parse(value);
        let mac = fields.get("hwaddr").map(|mac| mac.to_lowercase()).unwrap_or_default();
        let mut row = json!({
            "name": fields.get("name"), "hwaddr": mac, "hardware-address": mac, "ip-addresses": [],
        });
        let address = match fields.get("ip").map(String::as_str) {
            Some("dhcp") => Some(format!("10.78.0.{}/24", 100 + call.vmid() % 150)),
            Some("manual") | None => None,
            Some(fixed) => Some(fixed.to_owned()),
        };
        if let Some(address) = address {
            let local = format!("{}/64", link_local(&mac));
            row["ip-addresses"] = json!([described(&address, "inet"), described(&local, "inet6")]);
            row["inet"] = json!(address);
            row["inet6"] = json!(local);
        }
        rows.push(row);
    }
    json!(rows)
}

fn described(address: &str, kind: &str) -> Value {
    let (ip, prefix) = address.split_once('/').unwrap_or((address, "24"));
    json!({ "ip-address": ip, "ip-address-type": kind, "prefix": prefix })
}

/// Returns the address that the kernel gives a card itself when it is up: RFC 4291, appendix A.
fn link_local(mac: &str) -> Ipv6Addr {
    let octet =
        |index: usize| mac.split(':').nth(index).and_then(|text| u16::from_str_radix(text, 16).ok()).unwrap_or(0);
    let pair = |high: u16, low: u16| high << 8 | low;
    let identifier =
        [pair(octet(0) ^ 2, octet(1)), pair(octet(2), 0xff), pair(0xfe, octet(3)), pair(octet(4), octet(5))];
    Ipv6Addr::new(0xfe80, 0, 0, 0, identifier[0], identifier[1], identifier[2], identifier[3])
}
