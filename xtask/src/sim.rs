//! Runs both simulators for experiments, until Ctrl-C.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use farm::build::Build;
use farm::mirror::Mirror;
use farm::simulation::{Farm, Guests, Simulation, usual_world};
use serde_json::{Value, json};
use sim::{Control, Server};
use sim_guest::Namespaces;
use sim_pve::{Latency, Line, World};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::artifacts;
use crate::narrate::Narrator;
use crate::setup::{self, Purpose, Ready};

/// VMID of a template from which scripted guests are cloned.
const TEMPLATE: u32 = 8000;
const MOST_NODES: u32 = 100;
/// Owner of the farm's repository.
const ORGANIZATION: &str = "acme";
/// Enterprise of that organization.
const ENTERPRISE: &str = "acme-enterprise";

/// Options of the simulators.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Line of Proxmox VE: 8 or 9.
    #[arg(long, default_value = "9")]
    pve: Line,
    /// Seed for random values: secrets, addresses, faults with a probability.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stops time until it is stepped or started, over the control API or on the page.
    #[arg(long)]
    virtual_time: bool,
    /// Number of nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NODES)))]
    nodes: u32,
    /// Simulates a large cluster with this number of VMs, on nodes pve001, pve002, … and storages of two kinds.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50_000))]
    vms: u32,
    /// File that describes the cluster, in the form of the recordings' `world.json`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "vms"])]
    world: Option<PathBuf>,
    /// Kind of the guests.
    #[arg(long, value_enum, default_value_t = GuestKind::None)]
    guests: GuestKind,
    /// Port of the control API and its page. Default: a free port.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Builds the provider and the dispatcher's appliance too, so that `tofu init` finds them.
    #[arg(long)]
    provider: bool,
    /// Prints a line of JSON when everything is ready, and all other output to standard error.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GuestKind {
    /// Scripted guests, which answer at once and run no programs.
    None,
    /// Guests that run in namespaces on this machine.
    Namespaces,
}

/// Runs the simulators until a signal comes, then removes everything.
pub(crate) async fn run(narrator: Narrator, options: &Options) -> Result<()> {
    let narrator = if options.json { narrator.aside() } else { narrator };
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let playground = tokio::select! {
        started = Playground::start(&narrator, options) => started?,
        _ = interrupted.recv() => bail!("interrupted: stopping everything that was started"),
        _ = terminated.recv() => bail!("terminated: stopping everything that was started"),
    };
    if options.json {
        println!("{}", playground.description);
    } else {
        print!("{}", reported(&playground.description));
    }
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    narrator.say("ending");
    playground.end().await;
    narrator.say("nothing is left");
    Ok(())
}

/// Tokens for the scopes beyond one repository. The farm's own token cannot reach them.
struct WiderScopes {
    organization_token: String,
    enterprise_token: String,
}

impl WiderScopes {
    /// Creates the organization of the farm's repository, and an enterprise that contains the organization.
    fn of(github: &sim_github::ServerHandle) -> Self {
        github.world(|world, _| {
            world.add_organization(ORGANIZATION);
            world.add_enterprise(ENTERPRISE, &[ORGANIZATION]);
            Self {
                organization_token: world.add_token(sim_github::Token::for_organization_runners()),
                enterprise_token: world.add_classic_token(&["manage_runners:enterprise"]),
            }
        })
    }
}

/// Starts both simulators with the options.
async fn farm(options: &Options, guests: Option<Arc<Namespaces>>, world: Option<World>) -> Result<Farm> {
    let runs = guests.is_some();
    Farm::simulated_as(Simulation {
        guests: guests.map_or(Guests::Scripted, Guests::Running),
        line: Some(options.pve),
        seed: Some(options.seed),
        latency: Some(if options.virtual_time { Latency::Stepped } else { Latency::Real }),
        installer: runs && options.world.is_none() && options.vms == 0,
        world,
    })
    .await
}

/// Writes the certificate of the simulated GitHub's CA into `directory` and returns the file, if it has a CA of its
/// own.
fn write_github_ca(farm: &Farm, directory: &Path) -> Result<Option<PathBuf>> {
    let Some(pem) = &farm.github.ca_pem else { return Ok(None) };
    let file = directory.join("github-root-ca.pem");
    fs::write(&file, pem).with_context(|| format!("writing {}", file.display()))?;
    Ok(Some(file))
}

struct Playground {
    description: Value,
    control: Arc<Control>,
    guests: Option<Arc<Namespaces>>,
    _server: Server,
    _directory: TempDir,
}

impl Playground {
    async fn start(narrator: &Narrator, options: &Options) -> Result<Self> {
        let runs = options.guests == GuestKind::Namespaces;
        ensure!(!(runs && options.virtual_time), "--virtual-time needs --guests none: guests that run take real time");
        let world = world(options)?;
        // Scripted guests need nothing besides this program.
        let ready = (runs || options.provider).then(|| setup::run(narrator, Purpose::Demo)).transpose()?;
        let guests = match (&ready, runs) {
            (Some(ready), true) => Some(Namespaces::start(&ready.guest_base).await.context("starting guests")?),
            _ => None,
        };
        let farm = farm(options, guests.clone(), world).await?;
        let directory = tempfile::Builder::new().prefix("pxci-sim-").tempdir().context("creating a directory")?;
        let mut environment = farm.provider_environment(directory.path())?;
        let ready = ready.filter(|_| options.provider);
        if let Some(ready) = &ready {
            environment.extend(installation(narrator, &farm, ready, directory.path(), guests.as_deref())?);
        }
        let github_ca = write_github_ca(&farm, directory.path())?;
        let file = directory.path().join("environment");
        write_private(&file, &exports(&environment))?;
        let Farm { pve: site, github: github_site, simulated_pve, simulated_github, .. } = farm;
        let (Some(pve), Some(github)) = (simulated_pve, simulated_github) else {
            bail!("a simulated farm has both simulators");
        };
        let wider = WiderScopes::of(&github);
        let fingerprint: Vec<String> = pve.handle.fingerprint().iter().map(|byte| format!("{byte:02X}")).collect();
        let control = Control::new(Arc::new(pve.handle), Arc::new(github));
        let server = Server::start(Arc::clone(&control), options.control_port);
        let server = server.await.with_context(|| format!("listening on port {}", options.control_port))?;
        let description = json!({
            "pve": {
                "endpoint": site.endpoint,
                "ca_file": directory.path().join("pve-root-ca.pem"),
                "fingerprint": fingerprint.join(":"),
                "node": site.node,
                "provider": { "id": site.provider.id, "secret": site.provider.secret },
                "dispatcher": { "id": site.dispatcher.id, "secret": site.dispatcher.secret },
                "administrator": { "user": "root@pam", "password": pve.root_password },
            },
            "github": {
                "api_url": github_site.api_url,
                "ca_file": github_ca,
                "token": github_site.token,
                "repository": github_site.repository,
                "organization": { "login": ORGANIZATION, "token": wider.organization_token },
                "enterprise": { "slug": ENTERPRISE, "token": wider.enterprise_token },
            },
            "control": { "url": server.url(), "token": server.token(), "page": server.page_url() },
            "environment": file,
        });
        Ok(Self { description, control, guests, _server: server, _directory: directory })
    }

    /// Stops the guests first, so that they do not write into directories that are removed.
    async fn end(self) {
        self.control.pve().shutdown().await;
        if let Some(guests) = &self.guests {
            guests.end().await;
        }
    }
}

fn world(options: &Options) -> Result<Option<World>> {
    if let Some(file) = &options.world {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        return World::from_json(&text).with_context(|| format!("in {}", file.display())).map(Some);
    }
    if options.vms > 0 {
        return Ok(Some(World::scale(options.nodes, options.vms)));
    }
    let scripted = options.guests == GuestKind::None;
    if options.nodes == 1 && !scripted {
        return Ok(None);
    }
    let world = (2..=options.nodes).fold(usual_world(), |world, number| world.node(&format!("pve{number}")));
    Ok(Some(if scripted { world.template(TEMPLATE, "played", "local-lvm", "pxci-runners") } else { world }))
}

/// Returns the variables with which `tofu init` finds the provider, and those of `examples/complete`.
fn installation(
    narrator: &Narrator,
    farm: &Farm,
    ready: &Ready,
    directory: &Path,
    guests: Option<&Namespaces>,
) -> Result<Vec<(String, String)>> {
    narrator.say("building the provider and the dispatcher's appliance");
    let (provider, appliance) = (artifacts::provider()?, artifacts::appliance()?);
    let mirror = Mirror::lay_out(&directory.join("plugins"), &provider, Some(&appliance))?;
    let mut variables = vec![
        ("TF_CLI_CONFIG_FILE".to_owned(), mirror.configuration().display().to_string()),
        ("PATH".to_owned(), ready.search_path().to_string_lossy().into_owned()),
    ];
    let mut inputs = vec![
        ("node", farm.pve.node.clone()),
        ("repository", farm.github.repository.clone()),
        ("github_api_url", farm.github.api_url.clone()),
        ("dispatcher_pve_endpoints", serde_json::json!([farm.dispatcher.pve_endpoint]).to_string()),
        ("dispatcher_github_api_url", farm.dispatcher.github_api_url.clone()),
        ("github_token", farm.github.token.clone()),
        ("dispatcher_token_id", farm.pve.dispatcher.id.clone()),
        ("dispatcher_token_secret", farm.pve.dispatcher.secret.clone()),
        ("poll_interval", "1".to_owned()),
    ];
    inputs.extend(farm.dispatcher.github_ca_pem.clone().map(|pem| ("github_ca_certificate", pem)));
    if let Some(guests) = guests.filter(|_| farm.pve.installer.is_some()) {
        let flavour = artifacts::repository()?.join("runners/ubuntu-2204");
        let Build { image, variables: values, secrets, plugin_path } =
            Build::prepare(farm, &flavour, directory, Some(guests.ssh_address()))?;
        inputs.push(("image_directory", image.path().display().to_string()));
        inputs.push(("image_variables", values.to_string()));
        inputs.push(("image_secrets", secrets.to_string()));
        variables.extend(plugin_path.map(|path| ("PACKER_PLUGIN_PATH".to_owned(), path.display().to_string())));
    }
    variables.extend(inputs.into_iter().map(|(name, value)| (format!("TF_VAR_{name}"), value)));
    Ok(variables)
}

/// Returns shell lines that set the variables.
fn exports(variables: &[(String, String)]) -> String {
    variables.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "export {name}='{}'", value.replace('\'', r"'\''"));
        text
    })
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| std::io::Write::write_all(&mut opened, text.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
}

fn reported(description: &Value) -> String {
    let text = |pointer: &str| description.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let github_ca = match text("/github/ca_file") {
        "" => String::new(),
        file => format!("\n  CA          {file}"),
    };
    format!(
        "
Page        {page}
Control     {control}   Authorization: Bearer {control_token}

Proxmox VE  {endpoint}   node {node}
  CA          {ca}
  fingerprint {fingerprint}
  provider    {provider}={provider_secret}
  dispatcher  {dispatcher}={dispatcher_secret}
  root@pam    {root}
GitHub      {github}   repository {repository}{github_ca}
  token       {github_token}
  organization {organization}   token {organization_token}
  enterprise  {enterprise}   token {enterprise_token}

In another shell:  . {environment}
Ctrl-C ends everything.
",
        page = text("/control/page"),
        control = text("/control/url"),
        control_token = text("/control/token"),
        endpoint = text("/pve/endpoint"),
        node = text("/pve/node"),
        ca = text("/pve/ca_file"),
        fingerprint = text("/pve/fingerprint"),
        provider = text("/pve/provider/id"),
        provider_secret = text("/pve/provider/secret"),
        dispatcher = text("/pve/dispatcher/id"),
        dispatcher_secret = text("/pve/dispatcher/secret"),
        root = text("/pve/administrator/password"),
        github = text("/github/api_url"),
        repository = text("/github/repository"),
        github_token = text("/github/token"),
        organization = text("/github/organization/login"),
        organization_token = text("/github/organization/token"),
        enterprise = text("/github/enterprise/slug"),
        enterprise_token = text("/github/enterprise/token"),
        environment = text("/environment"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{exports, reported};

    #[test]
    fn the_authority_of_a_github_behind_https_is_printed() {
        let github = |ca_file| json!({ "github": { "api_url": "https://192.0.2.1:5", "ca_file": ca_file } });
        let text = reported(&github(Some("/tmp/x/github-root-ca.pem")));
        assert!(
            text.contains("GitHub      https://192.0.2.1:5   repository \n  CA          /tmp/x/github-root-ca.pem\n")
        );
        assert_eq!(reported(&github(None)).matches("CA ").count(), 1, "only Proxmox VE's");
    }

    #[test]
    fn values_are_quoted_for_a_shell() {
        let variables = [("A".to_owned(), "it's \"so\" $HOME".to_owned())];
        assert_eq!(exports(&variables), "export A='it'\\''s \"so\" $HOME'\n");
    }
}
