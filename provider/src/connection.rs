//! Address, token and trust of the PVE API, read from the provider block and the environment and checked once.

use std::path::Path;

use pve::{ApiToken, ClientConfig, Endpoint, Fingerprint, Trust};
use secrecy::SecretString;
use tf_provider::Diagnostics;

use crate::diagnostics::{self, Unable as _, refused_argument};

/// Unchecked values of the provider block, completed from the environment.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) endpoints: Vec<String>,
    pub(crate) token_id: Option<String>,
    pub(crate) token_secret: Option<SecretString>,
    pub(crate) ca_pem: Option<String>,
    pub(crate) fingerprint: Option<String>,
    /// False if `PROXMOX_VERIFY_SSL` turns off the check of certificates.
    pub(crate) verify: bool,
}

/// Values from environment variables. A `PXCI_…` variable takes precedence over the `PROXMOX_…` variable that older
/// set-ups use.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) endpoints: Vec<String>,
    pub(crate) token_id: Option<String>,
    pub(crate) token_secret: Option<SecretString>,
    pub(crate) ca_pem: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) installation: Option<String>,
    pub(crate) verify: bool,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Result<Self, Diagnostics> {
        Self::from_variables(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Diagnostics> {
        let either = |ours: &str, older: &str| variable(ours).or_else(|| variable(older));
        let several = variable("PXCI_ENDPOINTS").map(|list| list.split(',').map(|one| one.trim().to_owned()).collect());
        let single = || either("PXCI_ENDPOINT", "PROXMOX_URL").into_iter().collect();
        Ok(Self {
            endpoints: several.unwrap_or_else(single),
            token_id: either("PXCI_TOKEN_ID", "PROXMOX_TOKEN_ID"),
            token_secret: either("PXCI_TOKEN_SECRET", "PROXMOX_TOKEN_SECRET").map(SecretString::from),
            ca_pem: variable("PXCI_CA_FILE").map(|path| read_ca(Path::new(&path))).transpose()?,
            fingerprint: variable("PXCI_FINGERPRINT"),
            node: either("PXCI_NODE", "PROXMOX_NODE"),
            installation: variable("PXCI_INSTALLATION"),
            verify: variable("PROXMOX_VERIFY_SSL").is_none_or(|text| !is_negative(&text)),
        })
    }
}

fn is_negative(text: &str) -> bool {
    ["0", "false", "no", "off"].contains(&text.to_ascii_lowercase().as_str())
}

fn read_ca(path: &Path) -> Result<String, Diagnostics> {
    std::fs::read_to_string(path).map_err(|error| {
        let detail = format!("PXCI_CA_FILE is {}: {error}. Set it to the path of a PEM file.", path.display());
        diagnostics::impossible("read", "the CA certificate", "", detail).into()
    })
}

/// Checked address, token and trust of the API.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) trust: Trust,
    pub(crate) token: ApiToken,
}

impl Connection {
    /// Checks the settings. An error names the argument that is wrong.
    pub(crate) fn check(settings: Settings) -> Result<Self, Diagnostics> {
        let endpoints = endpoints(&settings.endpoints)?;
        let trust = trust(&settings)?;
        let token = token(settings.token_id, settings.token_secret)?;
        Ok(Self { endpoints, trust, token })
    }

    /// Makes a client, which connects when it sends its first request.
    pub(crate) fn client(&self) -> Result<pve::Client, Diagnostics> {
        let config = ClientConfig {
            endpoints: self.endpoints.clone(),
            token: self.token.clone(),
            trust: self.trust.clone(),
            user_agent: concat!("terraform-provider-pxci/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        Ok(pve::Client::new(config).unable("connect to", "Proxmox VE", "")?)
    }
}

fn endpoints(texts: &[String]) -> Result<Vec<Endpoint>, Diagnostics> {
    if texts.is_empty() {
        let detail = "Set `endpoint` in the provider block, or PXCI_ENDPOINT in the environment, to the address of the API, as in \"https://pve1.example.net:8006\".";
        return Err(diagnostics::invalid("endpoint", "No Proxmox VE endpoint is given", detail).into());
    }
    let parsed = texts.iter().map(|text| text.parse::<Endpoint>());
    parsed.collect::<Result<_, _>>().map_err(|error| refused_argument("endpoint", "the endpoint", &error).into())
}

fn trust(settings: &Settings) -> Result<Trust, Diagnostics> {
    match (&settings.ca_pem, &settings.fingerprint) {
        (Some(_), Some(_)) => {
            let detail = "Set either `ca_certificate` (PXCI_CA_FILE) or `fingerprint` (PXCI_FINGERPRINT).";
            Err(diagnostics::invalid("fingerprint", "The certificate's trust is given twice", detail).into())
        }
        (Some(pem), None) => Ok(Trust::CaPem(pem.clone())),
        (None, Some(text)) => text
            .parse::<Fingerprint>()
            .map(Trust::Fingerprint)
            .map_err(|error| refused_argument("fingerprint", "the fingerprint", &error).into()),
        (None, None) if !settings.verify => {
            tracing::warn!(
                "PROXMOX_VERIFY_SSL turns off the check of certificates, so an attacker on the network can read the API token; pin the certificate with PXCI_FINGERPRINT instead"
            );
            Ok(Trust::Insecure)
        }
        (None, None) => Ok(Trust::System),
    }
}

fn token(id: Option<String>, secret: Option<SecretString>) -> Result<ApiToken, Diagnostics> {
    let missing = |argument: &str, variable: &str| {
        let detail = format!(
            "Set `{argument}` in the provider block, or {variable} in the environment. docs/privileges.md explains how to create a token."
        );
        diagnostics::invalid(argument, "No Proxmox VE API token is given", detail)
    };
    let id = id.ok_or_else(|| missing("token_id", "PXCI_TOKEN_ID"))?;
    let secret = secret.ok_or_else(|| missing("token_secret", "PXCI_TOKEN_SECRET"))?;
    ApiToken::new(&id, &secret).map_err(|error| refused_argument("token_id", "the API token", &error).into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Connection, Environment, Settings};

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let variables: BTreeMap<_, _> = pairs.iter().copied().collect();
        Environment::from_variables(&|name| variables.get(name).map(|value| (*value).to_owned())).unwrap()
    }

    fn settings(endpoint: &str) -> Settings {
        Settings {
            endpoints: vec![endpoint.to_owned()],
            token_id: Some("ci@pve!farm".to_owned()),
            token_secret: Some("6f4d0a5e-1c8e-4d3b-9b1e-1f2a3b4c5d6e".to_owned().into()),
            ca_pem: None,
            fingerprint: None,
            verify: true,
        }
    }

    #[test]
    fn pxci_variables_take_precedence_over_proxmox_variables() {
        let both = environment(&[("PXCI_ENDPOINT", "https://a:8006"), ("PROXMOX_URL", "https://b:8006/api2/json")]);
        assert_eq!(both.endpoints, ["https://a:8006"]);
        let older = environment(&[("PROXMOX_URL", "https://b:8006/api2/json"), ("PROXMOX_VERIFY_SSL", "False")]);
        assert_eq!(older.endpoints, ["https://b:8006/api2/json"]);
        assert!(!older.verify);
    }

    #[test]
    fn an_address_that_ends_in_api2_json_is_accepted() {
        let connection = Connection::check(settings("https://pve1.lan:8006/api2/json")).unwrap();
        assert_eq!(connection.endpoints[0].to_string(), "https://pve1.lan:8006");
    }

    #[test]
    fn plain_http_is_refused_with_the_https_form() {
        let refused = Connection::check(settings("http://10.1.1.158:8006/api2/json")).unwrap_err();
        let diagnostic = refused.iter().next().unwrap();
        assert!(diagnostic.detail.contains("https://10.1.1.158:8006"), "{}", diagnostic.detail);
        assert_eq!(diagnostic.path.to_string(), "endpoint");
    }

    #[test]
    fn a_missing_secret_is_reported_with_the_variable_to_set() {
        let refused = Connection::check(Settings { token_secret: None, ..settings("https://a:8006") }).unwrap_err();
        let diagnostic = refused.iter().next().unwrap();
        assert!(diagnostic.detail.contains("PXCI_TOKEN_SECRET"), "{}", diagnostic.detail);
    }
}
