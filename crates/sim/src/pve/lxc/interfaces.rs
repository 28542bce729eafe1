//! `GET /nodes/{node}/lxc/{vmid}/interfaces`.

use serde_json::{Value, json};

use crate::pve::engine::{Call, Engine};
use crate::pve::world::drives;
use crate::pve::world::state::Kind;

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
        let address = match fields.get("ip").map(String::as_str) {
            Some("dhcp") | None => format!("10.78.0.{}/24", 100 + call.vmid() % 150),
            Some(fixed) => fixed.to_owned(),
        };
        let (ip, prefix) = address.split_once('/').unwrap_or((&address, "24"));
        rows.push(json!({
            "name": fields.get("name"), "hwaddr": mac, "hardware-address": mac, "inet": address,
            "ip-addresses": [{ "ip-address": ip, "ip-address-type": "inet", "prefix": prefix }],
        }));
    }
    json!(rows)
}
