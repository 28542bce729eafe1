//! The configuration from environment variables: those of the notes that the project began with, and a few that they could not know.
//!
//! One pool, one repository. `TEMPLATE_NAME` is looked up at PVE. `PROXMOX_VERIFY_SSL=false` pins the certificate that is met at the
//! start, because a connection that anybody may answer would hand the token to anybody.

use std::collections::BTreeMap;

use dispatcher_api::{Config, ConfigError, GithubConfig, PveConfig, RunnerPool, Secrets, TemplateSource};
use secrecy::SecretString;

use crate::clients::{self, ClientsError};
use crate::control::Settings;

/// Variables that had a meaning once and have none here, with the reason.
const WITHOUT_MEANING: [(&str, &str); 2] = [
    ("PROXMOX_STORAGE", "a clone stays on its template's storage, and nothing is uploaded"),
    (
        "USER_DATA_TEMPLATE",
        "what differs between runners is handed over by the guest agent; for the rest set RUNNER_SEED_ISO",
    ),
];

/// Why the environment is not a configuration.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Variables that cannot be done without.
    #[error("these environment variables are missing: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// A variable cannot be understood.
    #[error("{variable}=\"{value}\": {reason}")]
    Value {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The expected form.
        reason: String,
    },
    /// Together they say something impossible.
    #[error("the environment variables make no valid configuration")]
    Invalid(#[source] ConfigError),
    /// The template could not be looked up.
    #[error("unable to look up TEMPLATE_NAME")]
    Clients(#[from] ClientsError),
    /// PVE did not answer.
    #[error("unable to look up TEMPLATE_NAME at Proxmox VE")]
    Pve(#[from] pve::Error),
    /// There is not exactly one template of that name.
    #[error("TEMPLATE_NAME=\"{name}\": {found} templates of that name are visible, but one is needed{hint}")]
    Template {
        /// The name.
        name: String,
        /// Number of templates with the name.
        found: usize,
        /// The possible mistake.
        hint: &'static str,
    },
}

/// Environment variables by name.
#[derive(Debug, Clone)]
pub struct Variables(BTreeMap<String, SecretString>);

impl Variables {
    /// Returns the variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars().collect()
    }

    /// Returns true if any variable is for a dispatcher.
    #[must_use]
    pub fn are_meant(&self) -> bool {
        self.text("PROXMOX_URL").is_some()
    }

    /// Returns the value of a variable that is not a secret. An empty value counts as absent.
    fn text(&self, name: &str) -> Option<String> {
        use secrecy::ExposeSecret as _;
        let value = self.0.get(name)?.expose_secret().trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    fn number(&self, variable: &'static str, default: u32) -> Result<u32, EnvironmentError> {
        let Some(value) = self.text(variable) else { return Ok(default) };
        value.parse().map_err(|_| EnvironmentError::Value {
            variable,
            value,
            reason: "a whole number is expected".to_owned(),
        })
    }

    fn optional_number(&self, variable: &'static str) -> Result<Option<u32>, EnvironmentError> {
        if self.text(variable).is_none() {
            return Ok(None);
        }
        self.number(variable, 0).map(Some)
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}

/// Makes settings of environment variables, and looks the template up at PVE.
///
/// # Errors
/// [`EnvironmentError`].
pub async fn from_environment(variables: &Variables) -> Result<Settings, EnvironmentError> {
    for (name, reason) in WITHOUT_MEANING.iter().filter(|(name, _)| variables.text(name).is_some()) {
        tracing::warn!("{name} has no meaning here: {reason}");
    }
    let mut settings = without_template(variables)?;
    let pve = connect(variables, &mut settings).await?;
    let node = settings.config.pools[0].template.node.clone();
    let vmid = find_template(&pve, &node, &settings.config.pools[0].template.family).await?;
    settings.config.pools[0].template.vmid = vmid;
    settings.config.validate().map_err(EnvironmentError::Invalid)?;
    Ok(settings)
}

fn without_template(variables: &Variables) -> Result<Settings, EnvironmentError> {
    const REQUIRED: [&str; 5] =
        ["PROXMOX_URL", "PROXMOX_NODE", "PROXMOX_TOKEN_ID", "PROXMOX_TOKEN_SECRET", "GITHUB_TOKEN"];
    let missing: Vec<_> = REQUIRED.into_iter().filter(|name| variables.text(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(EnvironmentError::Missing(missing));
    }
    let text = |name: &str| variables.text(name).unwrap_or_default();
    let (repository, api_url) = repository(variables)?;
    let config = Config {
        installation: parsed(variables, "PXCI_INSTALLATION", "pxci")?,
        pve: PveConfig {
            endpoints: vec![endpoint(&text("PROXMOX_URL"))?],
            ca_pem: variables.text("PROXMOX_CA_PEM"),
            fingerprint: variables.text("PROXMOX_FINGERPRINT"),
            token_id: text("PROXMOX_TOKEN_ID"),
        },
        github: GithubConfig {
            api_url: variables.text("GITHUB_API_URL").unwrap_or(api_url),
            ca_pem: variables.text("GITHUB_CA_PEM"),
            app: None,
        },
        poll_interval_seconds: variables.number("POLL_INTERVAL", 15)?,
        pools: vec![pool(variables, repository)?],
    };
    let secrets = Secrets {
        pve_token_secret: variables.secret("PROXMOX_TOKEN_SECRET").unwrap_or_default(),
        github_token: variables.secret("GITHUB_TOKEN").unwrap_or_default(),
    };
    Ok(Settings { config, secrets })
}

fn pool(variables: &Variables, repository: String) -> Result<RunnerPool, EnvironmentError> {
    let text = |name: &str, default: &str| variables.text(name).unwrap_or_else(|| default.to_owned());
    let (first, last) = (variables.number("RUNNER_ID_START", 200)?, variables.number("RUNNER_ID_END", 299)?);
    let range = format!("{first}-{last}").parse();
    let wrong = |error: ownership::RangeError| EnvironmentError::Value {
        variable: "RUNNER_ID_END",
        value: last.to_string(),
        reason: error.to_string(),
    };
    Ok(RunnerPool {
        name: parsed(variables, "RUNNER_NAME_PREFIX", "energyplus-runner")?,
        labels: list(&text("RUNNER_LABELS", "energyplus,linux,x64,ubuntu-22.04")),
        repositories: vec![repository],
        runner_group_id: 1,
        max: variables.number("RUNNER_MAX", 1)?,
        vmid_range: range.map_err(wrong)?,
        resource_pool: text("PROXMOX_POOL", "pxci"),
        template: TemplateSource {
            family: text("TEMPLATE_NAME", "ubuntu-2204-runner-template"),
            vmid: 0,
            node: text("PROXMOX_NODE", ""),
            by_name: true,
        },
        seed_iso: variables.text("RUNNER_SEED_ISO"),
        cores: variables.optional_number("RUNNER_CORES")?,
        memory_mib: variables.optional_number("RUNNER_MEMORY")?,
        bridge: variables.text("PROXMOX_BRIDGE"),
        boot_limit_seconds: variables.number("RUNNER_BOOT_LIMIT", 300)?,
        idle_limit_seconds: variables.number("RUNNER_IDLE_LIMIT", 600)?,
        job_limit_seconds: variables.number("RUNNER_JOB_LIMIT", 6 * 60 * 60)?,
    })
}

/// Parses an address, which may carry the path of the API. An address without encryption is refused with the right form.
fn endpoint(value: &str) -> Result<String, EnvironmentError> {
    let parsed = value.parse::<pve::Endpoint>();
    parsed.map(|endpoint| endpoint.to_string()).map_err(|error| EnvironmentError::Value {
        variable: "PROXMOX_URL",
        value: value.to_owned(),
        reason: error.to_string(),
    })
}

/// Returns `owner/name`, and the API of the server that it is on.
fn repository(variables: &Variables) -> Result<(String, String), EnvironmentError> {
    let public = "https://api.github.com".to_owned();
    if let Some(url) = variables.text("REPO_URL") {
        let rest = url.strip_prefix("https://").unwrap_or_default();
        let parts: Vec<&str> = rest.trim_end_matches('/').trim_end_matches(".git").split('/').collect();
        return match parts[..] {
            ["github.com" | "www.github.com", owner, name] => Ok((format!("{owner}/{name}"), public)),
            [host, owner, name] if !host.is_empty() => {
                Ok((format!("{owner}/{name}"), format!("https://{host}/api/v3")))
            }
            _ => Err(EnvironmentError::Value {
                variable: "REPO_URL",
                value: url,
                reason: "https://github.com/owner/name is expected".to_owned(),
            }),
        };
    }
    let (owner, name) = (variables.text("REPO_OWNER"), variables.text("REPO_NAME"));
    match (owner, name) {
        (Some(owner), Some(name)) => Ok((format!("{owner}/{name}"), public)),
        (None, Some(_)) => Err(EnvironmentError::Missing(vec!["REPO_OWNER"])),
        (Some(_), None) => Err(EnvironmentError::Missing(vec!["REPO_NAME"])),
        (None, None) => Ok(("NREL/EnergyPlus".to_owned(), public)),
    }
}

fn parsed<T>(variables: &Variables, variable: &'static str, default: &str) -> Result<T, EnvironmentError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let value = variables.text(variable).unwrap_or_else(|| default.to_owned());
    value.parse().map_err(|error: T::Err| EnvironmentError::Value { variable, reason: error.to_string(), value })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Returns a client that has spoken to PVE. With `PROXMOX_VERIFY_SSL=false` the certificate that it met is pinned in the settings.
async fn connect(variables: &Variables, settings: &mut Settings) -> Result<pve::Client, EnvironmentError> {
    let pve = clients::pve(&settings.config, &settings.secrets)?;
    let unverified = variables
        .text("PROXMOX_VERIFY_SSL")
        .is_some_and(|value| matches!(value.to_lowercase().as_str(), "false" | "0" | "no"));
    match pve.nodes().await {
        Ok(_) => Ok(pve),
        Err(pve::Error::Untrusted { fingerprint, .. }) if unverified => {
            tracing::warn!(%fingerprint, "PROXMOX_VERIFY_SSL=false: the certificate met now is pinned; set PROXMOX_FINGERPRINT to make that permanent");
            settings.config.pve.fingerprint = Some(fingerprint.to_string());
            Ok(clients::pve(&settings.config, &settings.secrets)?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn find_template(pve: &pve::Client, node: &str, name: &str) -> Result<u32, EnvironmentError> {
    let guests = pve.guests().await?;
    let named = |guest: &&pve::GuestSummary| guest.node == node && guest.name.as_deref() == Some(name);
    let templates: Vec<u32> =
        guests.iter().filter(named).filter(|guest| guest.template).map(|guest| guest.vmid).collect();
    if let [vmid] = templates[..] {
        return Ok(vmid);
    }
    let hint = if guests.iter().any(|guest| named(&guest)) { "; a VM of that name is not a template" } else { "" };
    Err(EnvironmentError::Template { name: name.to_owned(), found: templates.len(), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(extra: &[(&str, &str)]) -> Variables {
        let base = [
            ("PROXMOX_URL", "https://10.1.1.158:8006/api2/json"),
            ("PROXMOX_NODE", "proxmox"),
            ("PROXMOX_TOKEN_ID", "root@pam!packer"),
            ("PROXMOX_TOKEN_SECRET", "aaaa-bbbb"),
            ("GITHUB_TOKEN", "ghp_cccc"),
        ];
        base.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_five_required_ones_are_enough() {
        let config = without_template(&variables(&[])).unwrap().config;
        let pool = &config.pools[0];
        assert_eq!(config.pve.endpoints, ["https://10.1.1.158:8006"]);
        assert_eq!((pool.max, pool.vmid_range.to_string()), (1, "200-299".to_owned()));
        assert_eq!((pool.repositories[0].as_str(), config.poll_interval_seconds), ("NREL/EnergyPlus", 15));
        assert_eq!(
            (pool.template.family.as_str(), pool.template.node.as_str()),
            ("ubuntu-2204-runner-template", "proxmox")
        );
        assert_eq!(pool.labels, ["energyplus", "linux", "x64", "ubuntu-22.04"]);
    }

    #[test]
    fn a_github_with_a_private_certificate_authority_is_named() {
        let authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
        let config = without_template(&variables(&[("GITHUB_CA_PEM", authority)])).unwrap().config;
        assert_eq!(config.github.ca_pem.as_deref(), Some(authority));
        assert_eq!(without_template(&variables(&[])).unwrap().config.github.ca_pem, None);
    }

    #[test]
    fn all_that_are_missing_are_named() {
        let some: Variables = [("PROXMOX_URL".to_owned(), "https://h:8006".to_owned())].into_iter().collect();
        let error = without_template(&some).unwrap_err().to_string();
        assert!(error.contains("PROXMOX_NODE, PROXMOX_TOKEN_ID, PROXMOX_TOKEN_SECRET, GITHUB_TOKEN"), "{error}");
    }

    #[test]
    fn a_repository_is_given_by_url_or_by_owner_and_name() {
        let of = |extra: &[(&str, &str)]| repository(&variables(extra));
        assert_eq!(of(&[("REPO_OWNER", "acme"), ("REPO_NAME", "tools")]).unwrap().0, "acme/tools");
        let enterprise = of(&[("REPO_URL", "https://git.acme.example/acme/tools.git")]).unwrap();
        assert_eq!(enterprise, ("acme/tools".to_owned(), "https://git.acme.example/api/v3".to_owned()));
        assert!(
            matches!(of(&[("REPO_OWNER", "acme")]), Err(EnvironmentError::Missing(names)) if names == ["REPO_NAME"])
        );
        assert!(of(&[("REPO_URL", "git@github.com:acme/tools")]).is_err());
    }

    #[test]
    fn an_address_without_encryption_is_refused_with_the_right_form() {
        let error = endpoint("http://10.1.1.158:8006/api2/json").unwrap_err().to_string();
        assert!(error.contains("https://10.1.1.158:8006"), "{error}");
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let shown = format!("{:?} {:?}", variables(&[]), without_template(&variables(&[])).unwrap());
        assert!(!shown.contains("aaaa-bbbb") && !shown.contains("ghp_cccc"), "{shown}");
    }
}
