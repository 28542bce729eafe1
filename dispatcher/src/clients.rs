//! The clients of PVE and GitHub that a configuration asks for.

use std::sync::Arc;
use std::time::Duration;

use dispatcher_api::{Config, Secrets};

use crate::clock::Clock;
use crate::parts::{Parts, Simulated};

/// Durations of linked clones and of their starts, stops and destructions on a server of modest size.
const TASKS: [(&str, Duration); 4] = [
    ("qmclone", Duration::from_millis(1500)),
    ("qmstart", Duration::from_millis(1500)),
    ("qmstop", Duration::from_secs(1)),
    ("qmdestroy", Duration::from_millis(1500)),
];

const USER_AGENT: &str = concat!("pxci-dispatcher/", env!("CARGO_PKG_VERSION"));

/// Why no client can be made. Nothing was asked yet.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// An address of PVE.
    #[error("an address of Proxmox VE cannot be used")]
    Endpoint(#[from] pve::EndpointError),
    /// The token of PVE.
    #[error("the API token of Proxmox VE cannot be used")]
    Token(#[from] pve::TokenError),
    /// The fingerprint.
    #[error("the fingerprint of Proxmox VE cannot be used")]
    Fingerprint(#[from] pve::FingerprintError),
    /// The client of PVE.
    #[error("the client of Proxmox VE cannot be set up")]
    Pve(#[from] pve::Error),
    /// The address of GitHub.
    #[error("the address of GitHub cannot be used")]
    GithubUrl(#[from] github::BaseUrlError),
    /// The client of GitHub.
    #[error("the client of GitHub cannot be set up")]
    Github(#[from] github::Error),
}

/// Checks that clients can be made from a configuration and its secrets. Nothing is asked.
///
/// # Errors
/// The first part that a client refuses: an address, a token, certificates, a fingerprint.
pub(crate) fn check(config: &Config, secrets: &Secrets) -> Result<(), ClientsError> {
    let parts = Parts::default();
    pve(config, secrets, &parts)?;
    github(config, secrets, &parts, &parts.clock(None))?;
    Ok(())
}

/// Returns a client of PVE.
pub(crate) fn pve(config: &Config, secrets: &Secrets, parts: &Parts) -> Result<pve::Client, ClientsError> {
    let endpoints = config.pve.endpoints.iter().map(|text| text.parse()).collect::<Result<Vec<pve::Endpoint>, _>>()?;
    let trust = match (&config.pve.fingerprint, &config.pve.ca_pem) {
        (Some(fingerprint), _) => pve::Trust::Fingerprint(fingerprint.parse()?),
        (None, Some(pem)) => pve::Trust::CaPem(pem.clone()),
        (None, None) => pve::Trust::System,
    };
    let token = pve::ApiToken::new(&config.pve.token_id, &secrets.pve_token_secret)?;
    let config = pve::ClientConfig { endpoints, token, trust, user_agent: USER_AGENT.to_owned() };
    Ok(match &parts.simulated {
        Some(Simulated { pve, .. }) => pve::Client::over(Arc::clone(pve), config, &TASKS)?,
        None => pve::Client::expecting(config, &TASKS)?,
    })
}

/// Returns a client of GitHub. In a simulation it reads the wall time of `clock`.
pub(crate) fn github(
    config: &Config,
    secrets: &Secrets,
    parts: &Parts,
    clock: &Clock,
) -> Result<github::Client, ClientsError> {
    let base_url = github::BaseUrl::parse(&config.github.api_url)?;
    let credential = match &config.github.app {
        Some(app) => github::Credential::App(github::AppCredential {
            issuer: app.id.clone(),
            installation: app.installation_id,
            private_key: secrets.github_token.clone(),
        }),
        None => github::Credential::Token(secrets.github_token.clone()),
    };
    let client = github::ClientConfig { base_url, credential, user_agent: USER_AGENT.to_owned() };
    if let Some(Simulated { github, .. }) = &parts.simulated {
        let clock = clock.clone();
        let wall_time = Arc::new(move || clock.wall(clock.now()));
        return Ok(github::Client::over(Arc::clone(github), client, wall_time)?);
    }
    Ok(match &config.github.ca_pem {
        Some(authority) => github::Client::with_certificate_authority(client, authority)?,
        None => github::Client::new(client)?,
    })
}
