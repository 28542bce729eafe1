//! Clients and data that all resources share, made once when the provider is configured.

use std::sync::Arc;

use ownership::{Installation, NodeName};
use tf_provider::{Attr, Diagnostic, Diagnostics};

use crate::boots::Boots;
use crate::connection::Connection;
use crate::diagnostics;
use crate::guests::Guests;
use crate::nodes;
use crate::vmids::Vmids;

/// Clients and data that all resources share.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    /// Client of the PVE API.
    pub(crate) pve: pve::Client,
    /// Address, token and trust of the PVE API, which Packer and the dispatcher need too.
    pub(crate) connection: Arc<Connection>,
    /// Name of this farm.
    pub(crate) installation: Installation,
    /// VMIDs that this process is about to use.
    pub(crate) vmids: Vmids,
    /// List of the cluster's guests.
    pub(crate) guests: Guests,
    /// Boot times of the guests of each template.
    pub(crate) boots: Boots,
    /// Node for resources that name none.
    default_node: Option<NodeName>,
}

impl Clients {
    /// Makes the clients. Connects to nothing yet.
    pub(crate) fn new(
        connection: Connection,
        installation: Installation,
        default_node: Option<NodeName>,
    ) -> Result<Self, Diagnostics> {
        Ok(Self {
            pve: connection.client()?,
            connection: Arc::new(connection),
            installation,
            vmids: Vmids::default(),
            guests: Guests::default(),
            boots: Boots::default(),
            default_node,
        })
    }

    /// Returns the node that a resource names, or else the provider's.
    pub(crate) fn node(&self, named: &Attr<String>) -> Result<NodeName, Diagnostic> {
        if let Some(text) = named.text() {
            return nodes::parse(text);
        }
        self.default_node.clone().ok_or_else(|| {
            diagnostics::invalid(
                "node",
                "No node is given",
                "Set `node` in the resource or in the provider block, or PXCI_NODE in the environment.",
            )
        })
    }

    /// Plans the provider's node for a new resource that names none.
    pub(crate) fn plan_node(&self, planned: &mut Attr<String>, configured: &Attr<String>) -> Result<(), Diagnostic> {
        if planned.is_unknown() && configured.is_null() {
            *planned = self.node(configured)?.to_string().into();
        }
        Ok(())
    }
}
