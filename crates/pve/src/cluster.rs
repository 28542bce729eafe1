//! Lists of the guests and nodes of the whole cluster. They need one request each but lag by up to ten seconds, so
//! confirm a single guest before acting on it.

use ownership::{NodeName, Vmid};
use serde::Deserialize;

use crate::{
    call::{Call, Parameters},
    client::Client,
    error::Error,
    lenient,
};

/// Kind of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum GuestKind {
    /// A virtual machine.
    #[serde(rename = "qemu")]
    Qemu,
    /// A container.
    #[serde(rename = "lxc")]
    Lxc,
}

/// A guest in the cluster's list. A new one has neither name nor sizes yet, and its status is `unknown`.
#[derive(Debug, Clone, Deserialize)]
pub struct GuestSummary {
    /// VMID.
    pub vmid: Vmid,
    /// VM or container.
    #[serde(rename = "type")]
    pub kind: GuestKind,
    /// Node that holds the guest.
    pub node: NodeName,
    /// Name, once PVE's list has it.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub name: Option<String>,
    /// `running`, `stopped` or `unknown`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub status: String,
    /// True if the guest is a template. False while PVE's list does not show it yet.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub template: bool,
    /// Resource pool of the guest.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub pool: Option<String>,
    /// Lock, for example `clone`.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub lock: Option<String>,
    /// Tags, joined by `;`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub tags: String,
}

/// A node of the cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeSummary {
    /// Name of the node.
    pub node: NodeName,
    /// `online`, `offline` or `unknown`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub status: String,
}

impl Client {
    /// Returns all guests that the token may see.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn guests(&self) -> Result<Vec<GuestSummary>, Error> {
        self.call(Call::get("/cluster/resources".to_owned(), &Parameters::default().with("type", "vm"))).await
    }

    /// Returns all nodes. Every token may see them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn nodes(&self) -> Result<Vec<NodeSummary>, Error> {
        self.call(Call::get("/nodes".to_owned(), &Parameters::default())).await
    }

    /// Returns true if a VMID is free now. This reserves nothing. The first program that creates a guest gets the VMID.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn is_free(&self, vmid: Vmid) -> Result<bool, Error> {
        let answer =
            self.call(Call::get("/cluster/nextid".to_owned(), &Parameters::default().with("vmid", vmid))).await;
        match answer {
            Ok(serde::de::IgnoredAny) => Ok(true),
            Err(error) if error.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_guest_has_neither_name_nor_sizes() {
        let guest: GuestSummary = serde_json::from_str(
            r#"{"id":"qemu/7471","lock":"clone","node":"pve1","status":"unknown","type":"qemu","vmid":7471}"#,
        )
        .unwrap();
        assert_eq!((guest.kind, guest.lock.as_deref(), guest.pool), (GuestKind::Qemu, Some("clone"), None));
        assert!(!guest.template);
    }

    #[test]
    fn a_known_guest_has_sizes_and_a_pool() {
        let json = r#"{"cpu":0,"id":"lxc/300","maxcpu":2,"maxmem":67108864,"name":"ct300","node":"pve1","pool":"ci","status":"stopped","template":0,"type":"lxc","uptime":0,"vmid":300}"#;
        let guest: GuestSummary = serde_json::from_str(json).unwrap();
        assert_eq!(
            (guest.kind, guest.pool.as_deref(), guest.name.as_deref()),
            (GuestKind::Lxc, Some("ci"), Some("ct300"))
        );
    }
}
