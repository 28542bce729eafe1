//! The provider block, and the one list of registered types.

use std::sync::Arc;

use ownership::{Installation, NodeName};
use tf_provider::{Attr, CancellationToken, Diagnostic, Diagnostics, Model, Provider, Registry, Secret};

use crate::boots::Boots;
use crate::connection::{self, Connection};
use crate::diagnostics;
use crate::guests::Guests;
use crate::nodes;
use crate::resources::cloudinit_snippet::Snippets;
use crate::resources::dispatcher_lxc::Dispatchers;
use crate::resources::runner_vm::RunnerVms;
use crate::resources::template::Templates;
use crate::vmids::Vmids;

/// Turns Proxmox VE into a farm of self-hosted GitHub Actions runners: every job gets a fresh virtual machine.
///
/// Each argument may come from the environment instead, so that a configuration names no server and holds no secret.
#[derive(Clone, Default, Model)]
pub(crate) struct ProviderModel {
    /// Address of the Proxmox VE API, as in `https://pve1.example.net:8006`; an address that ends in `/api2/json` is
    /// accepted too. Environment: `PXCI_ENDPOINT` or `PROXMOX_URL`.
    #[tf(optional)]
    endpoint: Attr<String>,
    /// Several addresses of one cluster; later ones are used when earlier ones do not answer. Not together with
    /// `endpoint`. Environment: `PXCI_ENDPOINTS`, separated by commas.
    #[tf(optional)]
    endpoints: Attr<Vec<String>>,
    /// Name of the API token, as `user@realm!name`. Environment: `PXCI_TOKEN_ID` or `PROXMOX_TOKEN_ID`.
    #[tf(optional)]
    token_id: Attr<String>,
    /// Secret of the API token. Environment: `PXCI_TOKEN_SECRET` or `PROXMOX_TOKEN_SECRET`.
    #[tf(optional, sensitive)]
    token_secret: Attr<Secret>,
    /// Certificates in PEM form that the API's certificate must be signed by; on a node, `/etc/pve/pve-root-ca.pem`.
    /// Environment: `PXCI_CA_FILE`, the name of a file that holds them.
    #[tf(optional)]
    ca_certificate: Attr<String>,
    /// SHA-256 fingerprint of the API's certificate, as the web interface shows it. Not together with
    /// `ca_certificate`. Environment: `PXCI_FINGERPRINT`.
    #[tf(optional)]
    fingerprint: Attr<String>,
    /// Node for resources that name none. Environment: `PXCI_NODE` or `PROXMOX_NODE`.
    #[tf(optional, validate = nodes::good_node)]
    node: Attr<String>,
    /// Name of this farm; part of every name and marker, so that several farms can share a cluster. 1 to 16 lower-case
    /// letters, digits and hyphens. Environment: `PXCI_INSTALLATION`. Default: `pxci`.
    #[tf(optional, validate = good_installation)]
    installation: Attr<String>,
}

/// What every resource works with.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    /// The PVE API.
    pub(crate) pve: pve::Client,
    /// How it is reached: Packer and the dispatcher need it too.
    pub(crate) connection: Arc<Connection>,
    /// This farm's name.
    pub(crate) installation: Installation,
    /// The VMIDs that this process is about to use.
    pub(crate) vmids: Vmids,
    /// The cluster's list of guests.
    pub(crate) guests: Guests,
    /// Boot times of the guests of each template.
    pub(crate) boots: Boots,
    /// Node for resources that name none.
    node: Option<NodeName>,
}

impl Clients {
    /// Returns the node that a resource names, or else the provider's.
    pub(crate) fn node(&self, named: &Attr<String>) -> Result<NodeName, Diagnostic> {
        if let Some(text) = named.text() {
            return nodes::parse(text);
        }
        self.node.clone().ok_or_else(|| {
            diagnostics::invalid(
                "node",
                "No node is named",
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

/// The provider.
pub(crate) struct Pxci;

impl Provider for Pxci {
    const NAME: &'static str = "pxci";
    type Model = ProviderModel;
    type Data = Clients;

    fn register(&self, registry: &mut Registry<Clients>) {
        // One line for each type.
        registry.resource(Snippets);
        registry.resource(RunnerVms);
        registry.resource(Dispatchers);
        registry.resource(Templates);
    }

    async fn configure(
        &self,
        _stop: &CancellationToken,
        config: ProviderModel,
    ) -> Result<Option<Clients>, Diagnostics> {
        let Some(settings) = settings(config)? else { return Ok(None) };
        let installation = settings.installation.parse::<Installation>();
        let installation = installation
            .map_err(|error| diagnostics::refused_argument("installation", "the installation's name", &error))?;
        let node = settings.node.as_deref().map(nodes::parse).transpose()?;
        let connection = Connection::establish(settings.connection)?;
        let pve = connection.client()?;
        Ok(Some(Clients {
            pve,
            connection: Arc::new(connection),
            installation,
            vmids: Vmids::default(),
            guests: Guests::default(),
            boots: Boots::default(),
            node,
        }))
    }
}

struct Settings {
    connection: connection::Settings,
    node: Option<String>,
    installation: String,
}

/// The block's values, completed from the environment; `None` while one of them is unknown.
fn settings(config: ProviderModel) -> Result<Option<Settings>, Diagnostics> {
    let texts = [&config.endpoint, &config.token_id, &config.ca_certificate, &config.fingerprint, &config.node];
    let unknown = texts.iter().any(|text| text.is_unknown())
        || config.endpoints.is_unknown()
        || config.token_secret.is_unknown()
        || config.installation.is_unknown();
    if unknown {
        return Ok(None);
    }
    let environment = connection::Environment::read()?;
    let endpoints = match (config.endpoint.into_known(), config.endpoints.into_known()) {
        (Some(_), Some(_)) => {
            return Err(diagnostics::invalid(
                "endpoints",
                "Two ways to name the endpoint",
                "Set either `endpoint` or `endpoints`.",
            )
            .into());
        }
        (Some(endpoint), None) => vec![endpoint],
        (None, Some(endpoints)) => endpoints,
        (None, None) => environment.endpoints,
    };
    let connection = connection::Settings {
        endpoints,
        token_id: config.token_id.into_known().or(environment.token_id),
        token_secret: config.token_secret.into_known().map(Secret::into_inner).or(environment.token_secret),
        ca_pem: config.ca_certificate.into_known().or(environment.ca_pem),
        fingerprint: config.fingerprint.into_known().or(environment.fingerprint),
        verify: environment.verify,
    };
    Ok(Some(Settings {
        connection,
        node: config.node.into_known().or(environment.node),
        installation: config
            .installation
            .into_known()
            .or(environment.installation)
            .unwrap_or_else(|| "pxci".to_owned()),
    }))
}

fn good_installation(text: &str) -> Result<(), String> {
    text.parse::<Installation>().map(drop).map_err(|error| error.to_string())
}
