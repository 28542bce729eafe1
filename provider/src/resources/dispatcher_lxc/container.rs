//! The container at Proxmox VE: made, changed, found, proved to be ours, destroyed.

use std::collections::BTreeSet;
use std::time::Duration;

use ownership::{Claim, Guest, Installation, Kind, Marker, Nonce, Owner, prove, tags};
use pve::{Config, Content, Error, GuestKind, Lxc, Upid, WaitOptions};
use tf_provider::{Attr, CancellationToken, Cx, Diagnostic};

use super::appliance::Appliance;
use super::model::{Dispatcher, Network, number};
use crate::diagnostics;
use crate::provider::Clients;
use crate::waiting;

pub(crate) const THING: &str = "dispatcher container";

/// Where the appliance keeps its state; the volume there outlives the container.
const STATE: &str = "/var/lib/pxci";
const STATE_VOLUME: &str = "mp0";
/// GiB: programs of a few MB, and nothing that grows.
const ROOT_SIZE: &str = "0.25";
const NETWORK_CARD: &str = "net0";
/// Begins the line of the description that says what the container was made from.
const APPLIANCE_LINE: &str = "Appliance: ";

/// Clean-up after a failure or an interruption has its own time, and is not interrupted itself.
const CLEAN_UP: Duration = Duration::from_secs(120);
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_secs(5);

/// Waits as long as the operation may take.
pub(crate) async fn finish(cx: &Cx<Clients>, task: &Upid) -> Result<(), Error> {
    let Ok(clients) = cx.data() else { return Ok(()) };
    clients.pve.wait(task, &waiting::until_deadline(cx)).await.map(drop)
}

/// Waits for clean-up.
pub(crate) fn clean_up_time() -> WaitOptions {
    WaitOptions { deadline: CLEAN_UP, cancel: CancellationToken::new() }
}

/// Uploads the appliance; a file of that name has that content, then nothing is sent.
pub(crate) async fn upload(cx: &Cx<Clients>, model: &Dispatcher, appliance: &Appliance) -> Result<(), Diagnostic> {
    let storage_name = model.template_storage.need("template_storage")?;
    let storage = cx.data()?.pve.storage(model.node.need("node")?, storage_name);
    let volid = appliance.volid(storage_name);
    let unable =
        |error: &Error| diagnostics::pve("upload", "the dispatcher's appliance", &volid, error).at("template_storage");
    let present =
        cx.guard(storage.volumes(Content::ContainerTemplate.as_str())).await?.map_err(|error| unable(&error))?;
    if present.iter().any(|volume| volume.volid == volid) {
        return Ok(());
    }
    tracing::info!(volid, bytes = appliance.content.len(), "uploading the appliance");
    let name = appliance.file_name();
    let task = cx
        .guard(storage.upload(Content::ContainerTemplate, &name, appliance.content.clone()))
        .await?
        .map_err(|error| unable(&error))?;
    finish(cx, &task).await.map_err(|error| unable(&error))
}

/// Makes a container on the first free VMID of the range; returns its VMID. Not started.
///
/// Without `with_state` it gets no state volume: it will take over that of another.
pub(crate) async fn create(
    cx: &Cx<Clients>,
    model: &Dispatcher,
    appliance: &Appliance,
    with_state: bool,
) -> Result<u32, Diagnostic> {
    let clients = cx.data()?;
    let range = model.range()?;
    let unable = |error: &Error| diagnostics::pve("create", THING, &range.to_string(), error);
    let mut refused = BTreeSet::new();
    while let Some(proposal) =
        cx.guard(clients.vmids.propose(&clients.pve, range, &refused)).await?.map_err(|error| unable(&error))?
    {
        let vmid = proposal.vmid();
        match create_as(cx, model, appliance, vmid, with_state).await {
            Ok(()) => return Ok(vmid),
            Err(error) if error.is_already_exists() => {
                tracing::info!(vmid, "somebody else took this VMID");
                refused.insert(vmid);
            }
            Err(error) if error.is_transient() || matches!(error, Error::Cancelled { .. } | Error::Deadline { .. }) => {
                abandon(clients, model, vmid).await;
                return Err(unable(&error));
            }
            Err(error) => return Err(unable(&error)),
        }
    }
    let detail = "Every VMID of the range is taken: widen the range, or destroy guests that are no longer needed.";
    Err(Diagnostic::error(format!("Unable to find a free VMID in \"{range}\""), detail)
        .at(if model.vmid_range.is_null() { "vmid" } else { "vmid_range" }))
}

async fn create_as(
    cx: &Cx<Clients>,
    model: &Dispatcher,
    appliance: &Appliance,
    vmid: u32,
    with_state: bool,
) -> Result<(), Error> {
    let Ok(clients) = cx.data() else { return Ok(()) };
    let marker = Marker::new(clients.installation.clone(), Owner::Provider, Kind::Dispatcher, vmid, Nonce::random());
    let options = options(model, &marker, appliance, with_state);
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    tracing::info!(vmid, "creating the dispatcher's container");
    let task = clients.pve.lxc(model.node.text().unwrap_or_default(), vmid).create(&options).await?;
    finish(cx, &task).await
}

/// Its creation goes on at the server; when it has ended, the container goes again.
async fn abandon(clients: &Clients, model: &Dispatcher, vmid: u32) {
    if let Err(diagnostic) = destroy(clients, model, vmid, &clean_up_time()).await {
        tracing::warn!(vmid, reason = diagnostic.detail, "a container that was being created may be left");
    }
}

fn options(
    model: &Dispatcher,
    marker: &Marker,
    appliance: &Appliance,
    with_state: bool,
) -> Vec<(&'static str, String)> {
    let text = |attribute: &Attr<String>| attribute.text().unwrap_or_default().to_owned();
    let storage = text(&model.storage);
    let mut options = vec![
        ("ostemplate", appliance.volid(model.template_storage.text().unwrap_or_default())),
        ("rootfs", format!("{storage}:{ROOT_SIZE}")),
        ("pool", text(&model.resource_pool)),
        ("unprivileged", "1".to_owned()),
        // The console then runs root's login shell, which is the dispatcher's console program.
        ("cmode", "shell".to_owned()),
        ("onboot", "1".to_owned()),
        ("description", description(marker, appliance, &text(&model.template_storage))),
        ("tags", tags(&marker.installation, &[])),
    ];
    if with_state {
        options.push((STATE_VOLUME, format!("{storage}:{},mp={STATE}", model.state_volume_size.known_or(1))));
    }
    options.extend(changeable(model, None));
    options
}

/// What can differ between two applies, as Proxmox VE's options. A card keeps its hardware address.
fn changeable(model: &Dispatcher, hardware_address: Option<&str>) -> Vec<(&'static str, String)> {
    let amount = |attribute: &Attr<i64>| attribute.known().map(ToString::to_string).unwrap_or_default();
    let mut options = vec![
        ("hostname", model.hostname.text().unwrap_or_default().to_owned()),
        ("cores", amount(&model.cores)),
        ("memory", amount(&model.memory)),
        ("swap", amount(&model.swap)),
    ];
    if let Some(network) = model.network.known() {
        options.push((NETWORK_CARD, network.to_option(hardware_address)));
    }
    if let Some(servers) = model.nameservers.known().filter(|servers| !servers.is_empty()) {
        options.push(("nameserver", servers.join(" ")));
    }
    options
}

fn description(marker: &Marker, appliance: &Appliance, template_storage: &str) -> String {
    let volid = appliance.volid(template_storage);
    format!("Dispatcher of GitHub Actions runners, managed by pxci.\n\n{APPLIANCE_LINE}{volid}\n\n{marker}")
}

/// Volume id of the appliance that a container was made from.
fn appliance_of(config: &Config) -> Option<&str> {
    config.description().lines().find_map(|line| line.trim().strip_prefix(APPLIANCE_LINE))
}

impl Network {
    /// The value of `net0`.
    fn to_option(&self, hardware_address: Option<&str>) -> String {
        let mut option = format!(
            "name=eth0,bridge={},ip={}",
            self.bridge.text().unwrap_or_default(),
            self.ip.text().unwrap_or("dhcp")
        );
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                option.push_str(&format!(",{key}={value}"));
            }
        };
        add("gw", self.gateway.text().map(str::to_owned));
        add("tag", self.vlan.known().map(ToString::to_string));
        add("firewall", (self.firewall.known() == Some(&true)).then(|| "1".to_owned()));
        add("hwaddr", hardware_address.map(str::to_owned));
        option
    }

    /// Reads the value of `net0`.
    fn from_option(option: &str) -> Self {
        let value = |key: &str| property(option, key).map(str::to_owned);
        Self {
            bridge: value("bridge").into(),
            ip: value("ip").into(),
            gateway: value("gw").into(),
            vlan: value("tag").and_then(|tag| tag.parse().ok()).into(),
            firewall: (value("firewall").as_deref() == Some("1")).into(),
        }
    }
}

/// A property of an option such as `name=eth0,bridge=vmbr0`.
fn property<'a>(option: &'a str, key: &str) -> Option<&'a str> {
    option.split(',').find_map(|part| part.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value))
}

/// What was found at Proxmox VE.
pub(crate) struct Found {
    /// The container, on the node where it is now.
    pub(crate) container: Lxc,
    /// Its configuration.
    pub(crate) config: Config,
}

/// Finds the container, also when it was moved to another node; `None` when there is none, or when what has its VMID now
/// is marked as somebody else's.
pub(crate) async fn find(clients: &Clients, model: &Dispatcher) -> Result<Option<Found>, Diagnostic> {
    let vmid = model.container()?;
    let unable = |error: &Error| diagnostics::pve("read", THING, &vmid.to_string(), error);
    let Some(found) = locate(clients, model.node.need("node")?, vmid).await.map_err(|error| unable(&error))? else {
        return Ok(None);
    };
    let foreign = |marker: &Marker| {
        marker.vmid != vmid || marker.kind != Kind::Dispatcher || marker.installation != clients.installation
    };
    // A description that somebody edited is no reason to forget the container.
    let marked = Marker::find(found.config.description()).ok().flatten();
    Ok(if marked.as_ref().is_some_and(foreign) { None } else { Some(found) })
}

async fn locate(clients: &Clients, node: &str, vmid: u32) -> Result<Option<Found>, Error> {
    let here = clients.pve.lxc(node, vmid);
    match here.config().await {
        Ok(config) => return Ok(Some(Found { container: here, config })),
        Err(error) if error.is_guest_missing() => {}
        Err(error) => return Err(error),
    }
    let guests = clients.pve.guests().await?;
    let Some(guest) =
        guests.iter().find(|guest| guest.vmid == vmid && guest.kind == GuestKind::Lxc && guest.node != node)
    else {
        return Ok(None);
    };
    let container = clients.pve.lxc(&guest.node, vmid);
    let config = container.config().await?;
    Ok(Some(Found { container, config }))
}

/// Takes what Proxmox VE says into the state.
pub(crate) fn take_over(config: &Config, model: &mut Dispatcher) {
    let amount = |option: &str| config.number(option).and_then(|number| i64::try_from(number).ok());
    model.hostname = config.get("hostname").map(str::to_owned).into();
    // An absent option is the default of Proxmox VE: all cores, 512 MiB, as much swap.
    model.cores = amount("cores").into();
    model.memory = amount("memory").or(Some(512)).into();
    model.swap = amount("swap").or(Some(512)).into();
    model.network = config.get(NETWORK_CARD).map(Network::from_option).into();
    let servers = config.get("nameserver").map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    if servers.is_some() || model.nameservers.known().is_some_and(|known| !known.is_empty()) {
        model.nameservers = servers.into();
    }
}

/// What an import can learn from the container alone.
pub(crate) fn adopt(config: &Config, model: &mut Dispatcher) {
    let storage = |option: &str| {
        config.get(option).and_then(|value| value.split_once(':')).map(|(storage, _)| storage.to_owned())
    };
    model.storage = storage("rootfs").into();
    let size =
        config.get(STATE_VOLUME).and_then(|option| property(option, "size")).and_then(|size| size.strip_suffix('G'));
    model.state_volume_size = size.and_then(|size| size.parse::<i64>().ok()).into();
    let Some(volid) = appliance_of(config) else { return };
    model.template_storage = volid.split_once(':').map(|(storage, _)| storage.to_owned()).into();
    // Of another appliance only the place is known: the next plan shows that a new one takes over.
    match Appliance::load(&Attr::Null) {
        Ok(appliance) if volid.ends_with(&appliance.file_name()) => appliance.describe(model),
        _ => model.appliance_volid = volid.into(),
    }
}

/// Changes what differs. A new name or network reaches the inside by a restart: `true` when one is needed.
pub(crate) async fn change(cx: &Cx<Clients>, found: &Found, plan: &Dispatcher) -> Result<bool, Diagnostic> {
    let unable = |error: &Error| diagnostics::pve("change", THING, &found.container.vmid().to_string(), error);
    let card = found.config.get(NETWORK_CARD).unwrap_or_default();
    let wanted = changeable(plan, property(card, "hwaddr"));
    let same_card = plan.network.known().is_some_and(|network| *network == Network::from_option(card));
    let same = |(name, value): &&(&str, String)| match *name {
        NETWORK_CARD => same_card,
        name => found.config.get(name) == Some(value),
    };
    let mut changes: Vec<(&str, &str)> =
        wanted.iter().filter(|option| !same(option)).map(|(name, value)| (*name, value.as_str())).collect();
    if found.config.get("nameserver").is_some() && wanted.iter().all(|(name, _)| *name != "nameserver") {
        changes.push(("delete", "nameserver"));
    }
    if changes.is_empty() {
        return Ok(false);
    }
    cx.guard(found.container.set_config(&changes, found.config.digest())).await?.map_err(|error| unable(&error))?;
    Ok(changes.iter().any(|(name, _)| !["cores", "memory", "swap"].contains(name)))
}

/// Starts the container if it does not run.
pub(crate) async fn start(cx: &Cx<Clients>, container: &Lxc) -> Result<(), Diagnostic> {
    let unable = |error: &Error| diagnostics::pve("start", THING, &container.vmid().to_string(), error);
    if cx.guard(container.status()).await?.map_err(|error| unable(&error))?.is_running() {
        return Ok(());
    }
    let task = cx.guard(container.start()).await?.map_err(|error| unable(&error))?;
    finish(cx, &task).await.map_err(|error| unable(&error))
}

/// Stops the container if it runs. At once: the dispatcher is made to be stopped anywhere.
pub(crate) async fn stop(clients: &Clients, container: &Lxc, wait: &WaitOptions) -> Result<(), Error> {
    if !container.status().await?.is_running() {
        return Ok(());
    }
    match container.stop().await {
        Ok(task) => clients.pve.wait(&task, wait).await.map(drop),
        Err(error) if error.is_not_running() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Re-assigns the state volume. Both containers are stopped.
pub(crate) async fn move_state(clients: &Clients, from: &Lxc, to: u32, wait: &WaitOptions) -> Result<(), Error> {
    let task = from.move_volume(STATE_VOLUME, to, STATE_VOLUME).await?;
    clients.pve.wait(&task, wait).await.map(drop)
}

/// Destroys the container after proving that it is ours. One that is gone already is no error.
pub(crate) async fn destroy(
    clients: &Clients,
    model: &Dispatcher,
    vmid: u32,
    wait: &WaitOptions,
) -> Result<(), Diagnostic> {
    let unable = |error: &Error| diagnostics::pve("destroy", THING, &vmid.to_string(), error);
    let Some(found) = locate(clients, model.node.need("node")?, vmid).await.map_err(|error| unable(&error))? else {
        return Ok(());
    };
    prove_ours(clients, model, &found).await?;
    let mut tries = 0;
    loop {
        match destroy_once(clients, &found.container, wait).await {
            Err(error) if error.is_locked() && tries < LOCK_TRIES => {
                tries += 1;
                tokio::select! {
                    () = wait.cancel.cancelled() => return Err(unable(&error)),
                    () = tokio::time::sleep(LOCK_PAUSE) => {}
                }
            }
            Err(error) if error.is_guest_missing() => return Ok(()),
            other => return other.map_err(|error| unable(&error)),
        }
    }
}

async fn destroy_once(clients: &Clients, container: &Lxc, wait: &WaitOptions) -> Result<(), Error> {
    stop(clients, container, wait).await?;
    tracing::info!(vmid = container.vmid(), "destroying the dispatcher's container");
    let task = container.delete().await?;
    clients.pve.wait(&task, wait).await.map(drop)
}

/// Range, resource pool and marker: without all of them nothing is destroyed.
pub(crate) async fn prove_ours(clients: &Clients, model: &Dispatcher, found: &Found) -> Result<(), Diagnostic> {
    let vmid = found.container.vmid();
    let resource_pool = model.resource_pool.need("resource_pool")?;
    let members = clients.pve.pool_members(resource_pool).await;
    let members = members.map_err(|error| diagnostics::pve("read", "resource pool", resource_pool, &error))?;
    let member = members.iter().any(|member| member.vmid == Some(vmid));
    let claim = Claim {
        installation: &clients.installation,
        owner: Owner::Provider,
        kind: Kind::Dispatcher,
        range: model.range()?,
        resource_pool,
    };
    let guest = Guest {
        vmid,
        resource_pool: member.then_some(resource_pool.as_str()),
        description: found.config.description(),
        template: found.config.is_template(),
    };
    prove(&claim, &guest).map(drop).map_err(|error| {
        let mut diagnostic = diagnostics::failed("destroy", THING, &vmid.to_string(), &error);
        diagnostic.detail.push_str("\n\nNothing was destroyed. If the container is yours, destroy it by hand and remove it from the state (`state rm`).");
        diagnostic
    })
}

/// Removes the appliance's copy, unless another dispatcher's container was made from it: then that one still needs it.
pub(crate) async fn remove_appliance(
    clients: &Clients,
    model: &Dispatcher,
    wait: &WaitOptions,
) -> Result<(), Diagnostic> {
    let (Some(volid), Some(storage)) = (model.appliance_volid.text(), model.template_storage.text()) else {
        return Ok(());
    };
    let unable = |error: &Error| diagnostics::pve("delete", "the dispatcher's appliance", volid, error);
    if used_elsewhere(clients, volid).await.map_err(|error| unable(&error))? {
        return Ok(());
    }
    let storage = clients.pve.storage(model.node.need("node")?, storage);
    match storage.delete(volid).await.map_err(|error| unable(&error))? {
        Some(task) => clients.pve.wait(&task, wait).await.map(drop).map_err(|error| unable(&error)),
        None => Ok(()),
    }
}

async fn used_elsewhere(clients: &Clients, volid: &str) -> Result<bool, Error> {
    for guest in clients.pve.guests().await? {
        if guest.kind != GuestKind::Lxc || !guest.tags.split(';').any(|tag| tag == "pxci") {
            continue;
        }
        match clients.pve.lxc(&guest.node, guest.vmid).config().await {
            Ok(config) if appliance_of(&config) == Some(volid) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.is_guest_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Runner machines that the dispatcher made and that still exist: `(VMID, name)`.
pub(crate) async fn runners_left(clients: &Clients, model: &Dispatcher) -> Result<Vec<(u32, String)>, Error> {
    let ranges: Vec<ownership::VmidRange> = model
        .pools
        .known()
        .into_iter()
        .flatten()
        .filter_map(|(_, pool)| pool.vmid_range.text()?.parse().ok())
        .collect();
    let guests = clients.pve.guests().await?;
    let ours = |name: &str| is_runner_of(&clients.installation, name);
    let left = guests.into_iter().filter(|guest| guest.kind == GuestKind::Qemu && !guest.template);
    let left = left.filter(|guest| ranges.iter().any(|range| range.contains(guest.vmid)));
    Ok(left.filter_map(|guest| Some((guest.vmid, guest.name.filter(|name| ours(name))?))).collect())
}

fn is_runner_of(installation: &Installation, name: &str) -> bool {
    ownership::RunnerName::parse(installation, name).is_ok()
}

/// VMIDs of a pool may not be those of the container.
pub(crate) fn overlapping_pool(model: &Dispatcher) -> Option<String> {
    let own = match (model.vmid_range.text(), number(&model.vmid)) {
        (Some(text), _) => text.parse().ok()?,
        (None, Some(vmid)) => ownership::VmidRange::new(vmid, vmid).ok()?,
        (None, None) => return None,
    };
    let overlaps = |text: &str| text.parse::<ownership::VmidRange>().is_ok_and(|range| range.overlaps(own));
    let pools = model.pools.known()?;
    pools.iter().find(|(_, pool)| pool.vmid_range.text().is_some_and(overlaps)).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appliance() -> Appliance {
        Appliance { version: "0.1.0".into(), sha256: "ab".repeat(32), content: bytes::Bytes::new() }
    }

    fn model() -> Dispatcher {
        Dispatcher {
            hostname: "pxci-dispatcher".into(),
            resource_pool: "ci".into(),
            storage: "store".into(),
            template_storage: "local".into(),
            state_volume_size: 2.into(),
            cores: 1.into(),
            memory: 256.into(),
            swap: 0.into(),
            network: Network {
                bridge: "vmbr0".into(),
                ip: "dhcp".into(),
                firewall: false.into(),
                ..Network::default()
            }
            .into(),
            ..Dispatcher::default()
        }
    }

    #[test]
    fn the_container_is_unprivileged_marked_and_has_a_state_volume_of_its_own() {
        let marker = Marker::new("lab".parse().unwrap(), Owner::Provider, Kind::Dispatcher, 8100, Nonce::random());
        let all = options(&model(), &marker, &appliance(), true);
        let get = |name: &str| all.iter().find(|(option, _)| *option == name).map(|(_, value)| value.as_str());
        assert_eq!(get("unprivileged"), Some("1"));
        assert_eq!(get("cmode"), Some("shell"));
        assert_eq!(get("mp0"), Some("store:2,mp=/var/lib/pxci"));
        assert_eq!(get("net0"), Some("name=eth0,bridge=vmbr0,ip=dhcp"));
        assert_eq!(get("tags"), Some("pxci;pxci-lab"));
        assert!(get("description").unwrap().contains(&format!("\nAppliance: {}\n", appliance().volid("local"))));
        assert_eq!(Marker::find(get("description").unwrap()).unwrap(), Some(marker.clone()));
        assert!(options(&model(), &marker, &appliance(), false).iter().all(|(name, _)| *name != "mp0"));
    }

    #[test]
    fn a_network_card_survives_the_way_to_proxmox_and_back() {
        let network = Network {
            bridge: "vmbr1".into(),
            ip: "10.0.0.5/24".into(),
            gateway: "10.0.0.1".into(),
            vlan: 7.into(),
            firewall: true.into(),
        };
        let option = network.to_option(Some("BC:24:11:00:00:01"));
        assert_eq!(Network::from_option(&format!("{option},type=veth")), network);
    }

    #[test]
    fn a_pool_in_the_containers_own_range_is_found() {
        let pool = |range: &str| super::super::model::Pool { vmid_range: range.into(), ..Default::default() };
        let mut model = Dispatcher { vmid_range: "8100-8109".into(), ..model() };
        model.pools = std::collections::BTreeMap::from([
            ("a".to_owned(), pool("9100-9199")),
            ("b".to_owned(), pool("8105-8200")),
        ])
        .into();
        assert_eq!(overlapping_pool(&model).as_deref(), Some("b"));
    }
}
