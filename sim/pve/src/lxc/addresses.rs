//! Network interfaces of containers, as reported from inside.

use serde_json::{Map, Value, json};

use crate::engine::{Call, Engine};
use crate::world::guest::Kind;

/// `GET /nodes/{node}/lxc/{vmid}/interfaces`.
pub(crate) async fn interfaces(engine: &Engine, call: &Call) -> Value {
    let vmid = call.vmid();
    let runs = engine.with_guest(vmid, |guest| guest.kind == Kind::Lxc && guest.run.is_some()) == Some(true);
    let listed = if runs { engine.backend.container_interfaces(vmid).await } else { None };
    match listed.as_ref().and_then(Value::as_array) {
        Some(interfaces) => interfaces.iter().map(row).collect(),
        None => Value::Null,
    }
}

/// Turns an entry of `ip -json address` into the form in which Proxmox VE shows it.
fn row(interface: &Value) -> Value {
    let addresses = interface["addr_info"].as_array().cloned().unwrap_or_default();
    let mac = &interface["address"];
    let mut row = Map::new();
    row.insert("name".to_owned(), interface["ifname"].clone());
    row.insert("hwaddr".to_owned(), mac.clone());
    row.insert("hardware-address".to_owned(), mac.clone());
    let mut list = Vec::new();
    for address in &addresses {
        let (Some(family), Some(local)) = (address["family"].as_str(), address["local"].as_str()) else { continue };
        let prefix = address["prefixlen"].to_string();
        row.insert(family.to_owned(), json!(format!("{local}/{prefix}")));
        list.push(json!({ "ip-address": local, "ip-address-type": family, "prefix": prefix }));
    }
    row.insert("ip-addresses".to_owned(), Value::Array(list));
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::row;

    #[test]
    fn an_interface_is_listed_as_on_the_recorded_server() {
        let listed = json!({
            "ifname": "eth0", "address": "bc:24:11:18:00:01",
            "addr_info": [
                { "family": "inet", "local": "10.78.0.61", "prefixlen": 24 },
                { "family": "inet6", "local": "fe80::be24:11ff:fe18:1", "prefixlen": 64 },
            ],
        });
        assert_eq!(
            row(&listed),
            json!({
                "name": "eth0", "hwaddr": "bc:24:11:18:00:01", "hardware-address": "bc:24:11:18:00:01",
                "inet": "10.78.0.61/24", "inet6": "fe80::be24:11ff:fe18:1/64",
                "ip-addresses": [
                    { "ip-address": "10.78.0.61", "ip-address-type": "inet", "prefix": "24" },
                    { "ip-address": "fe80::be24:11ff:fe18:1", "ip-address-type": "inet6", "prefix": "64" },
                ],
            })
        );
    }
}
