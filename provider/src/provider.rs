//! The provider block, and the list of registered types.

use ownership::Installation;
use tf_provider::{Attr, CancellationToken, Diagnostics, Model, Provider, Registry, Secret};

use crate::clients::Clients;
use crate::connection::{self, Connection};
use crate::diagnostics;
use crate::nodes;
use crate::resources::cloudinit_snippet::Snippets;
use crate::resources::dispatcher_lxc::Dispatchers;
use crate::resources::runner_vm::RunnerVms;
use crate::resources::template::Templates;

/// Turns Proxmox VE into a farm of self-hosted GitHub Actions runners: every job gets a fresh virtual machine.
///
/// Each argument may come from the environment instead, so that a configuration names no server and holds no secret.
#[derive(Clone, Default, Model)]
pub(crate) struct ProviderModel {
    /// Address of the Proxmox VE API, as in `https://pve1.example.net:8006`, with or without `/api2/json` at its end.
    /// Environment: `PXCI_ENDPOINT` or `PROXMOX_URL`.
    #[tf(optional)]
    endpoint: Attr<String>,
    /// Addresses of one cluster. Later addresses are used when earlier ones do not answer. Conflicts with `endpoint`.
    /// Environment: `PXCI_ENDPOINTS`, separated by commas.
    #[tf(optional)]
    endpoints: Attr<Vec<String>>,
    /// Name of the API token, as `user@realm!name`. Environment: `PXCI_TOKEN_ID` or `PROXMOX_TOKEN_ID`.
    #[tf(optional)]
    token_id: Attr<String>,
    /// Secret of the API token. Environment: `PXCI_TOKEN_SECRET` or `PROXMOX_TOKEN_SECRET`.
    #[tf(optional, sensitive)]
    token_secret: Attr<Secret>,
    /// PEM certificates of the authorities that may sign the API's certificate, such as the content of
    /// `/etc/pve/pve-root-ca.pem` on a node. Environment: `PXCI_CA_FILE`, the path of a file with the certificates.
    #[tf(optional)]
    ca_certificate: Attr<String>,
    /// SHA-256 fingerprint of the API's certificate, as the web interface shows it. Conflicts with `ca_certificate`.
    /// Environment: `PXCI_FINGERPRINT`.
    #[tf(optional)]
    fingerprint: Attr<String>,
    /// Node of the resources that do not set `node`. Environment: `PXCI_NODE` or `PROXMOX_NODE`.
    #[tf(optional, validate = nodes::good_node)]
    node: Attr<String>,
    /// Name of this farm: 1 to 16 lower-case letters, digits and hyphens. Every name and marker contains it, so several
    /// farms can share a cluster. Environment: `PXCI_INSTALLATION`. Default: `pxci`.
    #[tf(optional, validate = good_installation)]
    installation: Attr<String>,
}

/// The provider `pxci`.
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
        let connection = Connection::check(settings.connection)?;
        Clients::new(connection, installation, node).map(Some)
    }
}

struct Settings {
    connection: connection::Settings,
    node: Option<String>,
    installation: String,
}

/// Completes the provider block from the environment. Returns `None` while a value of the block is unknown.
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
                "The endpoint is given twice",
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
