//! The configuration from environment variables: those of the notes that the project began with, and a few that they could not know.
//!
//! One pool, one repository. The shipped example has the values of the notes. `TEMPLATE_NAME` is looked up at PVE. `PROXMOX_VERIFY_SSL=false` pins the certificate that is met at the
//! start, because a connection that anybody may answer would hand the token to anybody.

use std::collections::BTreeMap;

use dispatcher_api::{Config, ConfigError, GithubConfig, PveConfig, RunnerPool, Secrets, TemplateSource};
use ownership::{NameError, NodeName, RepositoryName, Vmid};
use secrecy::SecretString;

use crate::clients::{self, ClientsError};
use crate::parts::Parts;
use crate::settings::Settings;

/// Variables that had a meaning once and have none here, with the reason.
const WITHOUT_MEANING: [(&str, &str); 2] = [
    ("PROXMOX_STORAGE", "a clone stays on its template's storage, and nothing is uploaded"),
    (
        "USER_DATA_TEMPLATE",
        "what differs between runners is handed over by the guest agent; for the rest set RUNNER_SEED_ISO",
    ),
];

/// The shipped example of the variables, as a path in the repository.
const EXAMPLE: &str = "dispatcher/systemd/pxci-dispatcher.default";

/// Variables that cannot be done without. The repository is named by others, see `missing_of_repository`.
const REQUIRED: [&str; 7] = [
    "PROXMOX_URL",
    "PROXMOX_NODE",
    "PROXMOX_TOKEN_ID",
    "PROXMOX_TOKEN_SECRET",
    "GITHUB_TOKEN",
    "RUNNER_NAME_PREFIX",
    "RUNNER_LABELS",
];

/// Why the environment is not a configuration.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Variables that cannot be done without.
    #[error("these environment variables are missing: {}; an example with all of them is {EXAMPLE}", .0.join(", "))]
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
    let Declared { mut settings, node, template, pool } = read(variables)?;
    let pve = connect(variables, &mut settings).await?;
    let vmid = find_template(&pve, &node, &template).await?;
    settings.config.pools = vec![pool(vmid)];
    settings.config.validate().map_err(EnvironmentError::Invalid)?;
    Ok(settings)
}

/// Settings that lack the one pool, because its template is known by name only.
struct Declared {
    settings: Settings,
    node: NodeName,
    template: String,
    pool: Box<dyn FnOnce(Vmid) -> RunnerPool + Send>,
}

fn read(variables: &Variables) -> Result<Declared, EnvironmentError> {
    let missing = REQUIRED.into_iter().filter(|name| variables.text(name).is_none());
    let missing: Vec<_> = missing.chain(missing_of_repository(variables)).collect();
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
        pools: Vec::new(),
    };
    let secrets = Secrets {
        pve_token_secret: variables.secret("PROXMOX_TOKEN_SECRET").unwrap_or_default(),
        github_token: variables.secret("GITHUB_TOKEN").unwrap_or_default(),
    };
    let node: NodeName = parsed(variables, "PROXMOX_NODE", "")?;
    let template = variables.text("TEMPLATE_NAME").unwrap_or_else(|| "ubuntu-2204-runner-template".to_owned());
    let pool = pool(variables, repository, node.clone(), template.clone())?;
    Ok(Declared { settings: Settings { config, secrets }, node, template, pool: Box::new(pool) })
}

/// Reads all of the pool's variables, and returns the pool for a template's VMID.
fn pool(
    variables: &Variables,
    repository: RepositoryName,
    node: NodeName,
    family: String,
) -> Result<impl FnOnce(Vmid) -> RunnerPool + Send + use<>, EnvironmentError> {
    let text = |name: &str, default: &str| variables.text(name).unwrap_or_else(|| default.to_owned());
    let (first, last) = (variables.number("RUNNER_ID_START", 200)?, variables.number("RUNNER_ID_END", 299)?);
    let range = format!("{first}-{last}").parse();
    let wrong = |error: ownership::RangeError| EnvironmentError::Value {
        variable: "RUNNER_ID_END",
        value: last.to_string(),
        reason: error.to_string(),
    };
    let (name, vmid_range) = (parsed(variables, "RUNNER_NAME_PREFIX", "")?, range.map_err(wrong)?);
    let (labels, resource_pool) = (list(&text("RUNNER_LABELS", "")), text("PROXMOX_POOL", "pxci"));
    let (max, cores) = (variables.number("RUNNER_MAX", 1)?, variables.optional_number("RUNNER_CORES")?);
    let memory_mib = variables.optional_number("RUNNER_MEMORY")?;
    let (seed_iso, bridge) = (variables.text("RUNNER_SEED_ISO"), variables.text("PROXMOX_BRIDGE"));
    let boot_limit_seconds = variables.number("RUNNER_BOOT_LIMIT", 300)?;
    let idle_limit_seconds = variables.number("RUNNER_IDLE_LIMIT", 600)?;
    let job_limit_seconds = variables.number("RUNNER_JOB_LIMIT", 6 * 60 * 60)?;
    Ok(move |vmid| RunnerPool {
        name,
        labels,
        repositories: vec![repository],
        runner_group_id: 1,
        max,
        vmid_range,
        resource_pool,
        template: TemplateSource { family, vmid, node, by_name: true },
        seed_iso,
        cores,
        memory_mib,
        bridge,
        boot_limit_seconds,
        idle_limit_seconds,
        job_limit_seconds,
        quarantine: None,
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

/// `owner/name`, and the API of the server that it is on.
fn repository(variables: &Variables) -> Result<(RepositoryName, String), EnvironmentError> {
    let public = "https://api.github.com".to_owned();
    let wrong = |variable, value: &str, reason: &str| EnvironmentError::Value {
        variable,
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    if let Some(url) = variables.text("REPO_URL") {
        let wrong = || wrong("REPO_URL", &url, "https://github.com/owner/name is expected");
        let rest = url.strip_prefix("https://").unwrap_or_default();
        let (host, name) = rest.trim_end_matches('/').trim_end_matches(".git").split_once('/').ok_or_else(wrong)?;
        let name = name.parse().map_err(|_| wrong())?;
        return match host {
            "" => Err(wrong()),
            "github.com" | "www.github.com" => Ok((name, public)),
            host => Ok((name, format!("https://{host}/api/v3"))),
        };
    }
    match (variables.text("REPO_OWNER"), variables.text("REPO_NAME")) {
        (Some(owner), Some(name)) => {
            let text = format!("{owner}/{name}");
            let parsed = text.parse().map_err(|error: NameError| wrong("REPO_NAME", &name, &error.to_string()))?;
            Ok((parsed, public))
        }
        _ => Err(EnvironmentError::Missing(missing_of_repository(variables))),
    }
}

/// Returns the variables that are still needed to name the repository.
fn missing_of_repository(variables: &Variables) -> Vec<&'static str> {
    let has = |name| variables.text(name).is_some();
    match (has("REPO_URL"), has("REPO_OWNER"), has("REPO_NAME")) {
        (true, ..) | (_, true, true) => Vec::new(),
        (_, true, false) => vec!["REPO_NAME"],
        (_, false, true) => vec!["REPO_OWNER"],
        (_, false, false) => vec!["REPO_URL (or REPO_OWNER and REPO_NAME)"],
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
    let pve = clients::pve(&settings.config, &settings.secrets, &Parts::default())?;
    let unverified = variables
        .text("PROXMOX_VERIFY_SSL")
        .is_some_and(|value| matches!(value.to_lowercase().as_str(), "false" | "0" | "no"));
    match pve.nodes().await {
        Ok(_) => Ok(pve),
        Err(pve::Error::Untrusted { fingerprint, .. }) if unverified => {
            tracing::warn!(%fingerprint, "PROXMOX_VERIFY_SSL=false: the certificate met now is pinned; set PROXMOX_FINGERPRINT to make that permanent");
            settings.config.pve.fingerprint = Some(fingerprint.to_string());
            Ok(clients::pve(&settings.config, &settings.secrets, &Parts::default())?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn find_template(pve: &pve::Client, node: &NodeName, name: &str) -> Result<Vmid, EnvironmentError> {
    let guests = pve.guests().await?;
    let named = |guest: &&pve::GuestSummary| guest.node == *node && guest.name.as_deref() == Some(name);
    let templates: Vec<Vmid> =
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
            ("RUNNER_NAME_PREFIX", "tools"),
            ("RUNNER_LABELS", "self-hosted, linux"),
        ];
        let repository: &[(&str, &str)] = match extra.iter().any(|(name, _)| name.starts_with("REPO_")) {
            true => &[],
            false => &[("REPO_URL", "https://github.com/acme/tools")],
        };
        base.iter()
            .chain(repository)
            .chain(extra)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// The configuration for template 9000.
    fn config(variables: &Variables) -> Config {
        let declared = read(variables).unwrap();
        let pools = vec![(declared.pool)(Vmid::new(9000).unwrap())];
        Config { pools, ..declared.settings.config }
    }

    #[test]
    fn the_required_ones_are_enough() {
        let config = config(&variables(&[]));
        let pool = &config.pools[0];
        assert_eq!(config.pve.endpoints, ["https://10.1.1.158:8006"]);
        assert_eq!((pool.max, pool.vmid_range.to_string()), (1, "200-299".to_owned()));
        assert_eq!((pool.repositories[0].as_str(), config.poll_interval_seconds), ("acme/tools", 15));
        assert_eq!(
            (pool.template.family.as_str(), pool.template.node.as_str()),
            ("ubuntu-2204-runner-template", "proxmox")
        );
        assert_eq!((pool.name.as_str(), pool.labels.join(" ")), ("tools", "self-hosted linux".to_owned()));
    }

    #[test]
    fn a_github_with_a_private_certificate_authority_is_named() {
        let authority = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
        let named = config(&variables(&[("GITHUB_CA_PEM", authority)]));
        assert_eq!(named.github.ca_pem.as_deref(), Some(authority));
        assert_eq!(config(&variables(&[])).github.ca_pem, None);
    }

    #[test]
    fn all_that_are_missing_are_named() {
        let some: Variables = [("PROXMOX_URL".to_owned(), "https://h:8006".to_owned())].into_iter().collect();
        let error = read(&some).err().unwrap().to_string();
        let all = "PROXMOX_NODE, PROXMOX_TOKEN_ID, PROXMOX_TOKEN_SECRET, GITHUB_TOKEN, RUNNER_NAME_PREFIX, RUNNER_LABELS, \
                   REPO_URL (or REPO_OWNER and REPO_NAME)";
        assert!(error.contains(all), "{error}");
        assert!(error.contains("dispatcher/systemd/pxci-dispatcher.default"), "{error}");
    }

    #[test]
    fn the_shipped_example_has_the_values_of_the_notes() {
        let example: Variables = include_str!("../../systemd/pxci-dispatcher.default")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let config = config(&example);
        let pool = &config.pools[0];
        assert_eq!((pool.name.as_str(), pool.repositories[0].as_str()), ("energyplus-runner", "NREL/EnergyPlus"));
        assert_eq!(pool.labels, ["energyplus", "linux", "x64", "ubuntu-22.04"]);
        assert_eq!(
            (pool.template.family.as_str(), pool.vmid_range.to_string()),
            ("ubuntu-2204-runner-template", "200-299".to_owned())
        );
        config.validate().unwrap();
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(EXAMPLE).exists());
    }

    #[test]
    fn a_repository_is_given_by_url_or_by_owner_and_name() {
        let of = |extra: &[(&str, &str)]| repository(&variables(extra));
        assert_eq!(of(&[("REPO_OWNER", "acme"), ("REPO_NAME", "tools")]).unwrap().0.as_str(), "acme/tools");
        let enterprise = of(&[("REPO_URL", "https://git.acme.example/acme/tools.git")]).unwrap();
        assert_eq!((enterprise.0.as_str(), enterprise.1.as_str()), ("acme/tools", "https://git.acme.example/api/v3"));
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
        let shown = format!("{:?} {:?}", variables(&[]), read(&variables(&[])).unwrap().settings);
        assert!(!shown.contains("aaaa-bbbb") && !shown.contains("ghp_cccc"), "{shown}");
    }
}
