//! A simulated Proxmox VE and a simulated GitHub, with a dispatcher's narrow token for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sim_github::{
    Behaviour, EventKind, JobSpec, JobState, RunSpec, SAMPLE_APP_KEY, ServerHandle, ServerOptions, Token,
};
use sim_pve::{Handle, Latency, Options, World};

use crate::guests::Guests;

pub(crate) const REPOSITORY: &str = "acme/tools";
const DISPATCHER: &str = "farm@pve!dispatcher";
/// A foreign VM in the pool's range that the token cannot see.
pub(crate) const FOREIGN: u32 = 9107;
/// A copy that somebody made by hand: it inherited a marker, with the VMID of the original.
pub(crate) const COPY: u32 = 9106;

/// VMs that the provider made and lends: the dispatcher may clear them away once they have finished.
pub(crate) const LENT: u32 = 9105;
pub(crate) const LENT_AND_NEVER_STARTED: u32 = 9104;

/// Privileges that are documented for the dispatcher.
const PRIVILEGES: [&str; 17] = [
    "VM.Allocate",
    "VM.Clone",
    "VM.Audit",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.PowerMgmt",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileWrite",
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "Pool.Audit",
    "SDN.Use",
];

pub(crate) struct SimulatedFarm {
    pub(crate) pve: Handle,
    pub(crate) github: ServerHandle,
    pub(crate) guests: Guests,
    github_token: String,
}

impl SimulatedFarm {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], Guests::default(), Latency::Faster(5.0)).await
    }

    /// A server that takes its usual time for everything.
    pub(crate) async fn start_at_real_pace() -> Self {
        Self::start_with(&[], Guests::of_a_real_server(), Latency::Real).await
    }

    /// Jobs do not end by themselves.
    pub(crate) async fn start_with_long_jobs() -> Self {
        Self::start_with(&[], Guests::with_long_jobs(), Latency::Faster(5.0)).await
    }

    /// No guest's agent answers.
    pub(crate) async fn start_without_agents() -> Self {
        Self::start_with(&[], Guests::without_agents(), Latency::Faster(5.0)).await
    }

    /// The provider lends two VMs.
    pub(crate) async fn start_with_lent_vms() -> Self {
        Self::start_with(&[LENT, LENT_AND_NEVER_STARTED], Guests::default(), Latency::Faster(5.0)).await
    }

    async fn start_with(lent: &[u32], guests: Guests, latency: Latency) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = Options { latency, ..Options::default() };
        let pve = sim_pve::Server::start(&world(lent), Arc::new(guests.clone()), options).await.unwrap();
        let behaviour = Behaviour { deletes_busy: true, ..Behaviour::default() };
        let github = sim_github::Server::start(ServerOptions { behaviour, ..ServerOptions::default() }).await.unwrap();
        let github_token = github.world(|world, _| {
            world.add_repository(REPOSITORY);
            world.add_token(Token::for_repository_runners())
        });
        Self { pve, github, guests, github_token }
    }

    /// Starts a VM as somebody with the dispatcher's token would.
    pub(crate) async fn start_vm(&self, vmid: u32) {
        let config = pve::ClientConfig {
            endpoints: vec![self.pve.url().parse().unwrap()],
            token: pve::ApiToken::new(DISPATCHER, &self.pve.token_secret(DISPATCHER).unwrap().into()).unwrap(),
            trust: pve::Trust::CaPem(self.pve.ca_pem().to_owned()),
            user_agent: "test".into(),
        };
        pve::Client::new(config)
            .unwrap()
            .qemu(&"pve1".parse().unwrap(), ownership::Vmid::new(vmid).unwrap())
            .start()
            .await
            .unwrap();
    }

    pub(crate) fn queue(&self, jobs: usize) -> Vec<u64> {
        let job = |number| JobSpec { name: format!("job {number}"), labels: vec!["Linux".into()], steps: Vec::new() };
        let jobs = (0..jobs).map(job).collect();
        self.github.queue_run(RunSpec { repository: REPOSITORY.into(), event: "push".into(), fork: None, jobs })
    }

    /// The runners that the jobs ran on, once all have ended.
    pub(crate) async fn runners_of(&self, jobs: &[u64], limit: Duration) -> Option<Vec<String>> {
        let ended = self.github.wait_for(limit, |world| {
            let over = |id: &u64| {
                let job = world.job(*id)?;
                matches!(&job.state, JobState::Completed { conclusion } if conclusion == "success")
                    .then(|| job.runner_name.clone())?
            };
            jobs.iter().map(over).collect::<Option<Vec<_>>>()
        });
        ended.await
    }

    /// Returns true if all jobs have ended.
    pub(crate) fn are_over(&self, jobs: &[u64]) -> bool {
        let is_over = |job: &sim_github::Job| matches!(job.state, JobState::Completed { .. });
        self.github.world(|world, _| jobs.iter().all(|id| world.job(*id).is_some_and(is_over)))
    }

    /// Returns true if all jobs run.
    pub(crate) fn are_running(&self, jobs: &[u64]) -> bool {
        let runs = |job: &sim_github::Job| matches!(job.state, JobState::InProgress { .. });
        self.github.world(|world, _| jobs.iter().all(|id| world.job(*id).is_some_and(runs)))
    }

    /// Returns the number of times that a runner started one of the jobs.
    pub(crate) fn starts_of(&self, jobs: &[u64]) -> usize {
        let starts = |job: &sim_github::Job| {
            job.events.iter().filter(|event| matches!(event.kind, EventKind::Started(_))).count()
        };
        self.github.world(|world, _| jobs.iter().filter_map(|id| world.job(*id)).map(starts).sum())
    }

    /// Returns the largest number of clones that existed at a time.
    pub(crate) fn most_clones(&self) -> usize {
        let (mut now, mut most) = (BTreeSet::new(), 0);
        for event in self.pve.timeline() {
            let vmid = event.what.split(' ').next().unwrap_or_default().to_owned();
            match event.kind.as_str() {
                "cloned" => drop(now.insert(vmid)),
                "destroyed" => drop(now.remove(&vmid)),
                _ => {}
            }
            most = most.max(now.len());
        }
        most
    }

    /// VMs in the pool's range beside those that are not the dispatcher's.
    pub(crate) fn vms(&self) -> Vec<u32> {
        self.pve.guests().into_iter().filter(|vmid| (9100..9106).contains(vmid)).collect()
    }

    /// Returns true if nothing is left of any runner, here or there.
    pub(crate) fn is_clean(&self) -> bool {
        self.vms().is_empty()
            && self.github.world(|world, _| world.runner_names().is_empty())
            && self.guests.running().is_empty()
    }

    pub(crate) fn assert_foreign_guests_are_unharmed(&self) {
        let guests: BTreeSet<u32> = self.pve.guests().into_iter().collect();
        assert!(guests.contains(&FOREIGN) && guests.contains(&COPY) && guests.contains(&9000), "{guests:?}");
        let changed = |path: &str| [FOREIGN, COPY].iter().any(|vmid| path.contains(&format!("/qemu/{vmid}")));
        let touched: Vec<_> = self
            .pve
            .requests()
            .entries()
            .into_iter()
            .filter(|entry| entry.method != "GET" && changed(&entry.path))
            .collect();
        assert!(touched.is_empty(), "{touched:?}");
    }

    /// The dispatcher's requests to Proxmox VE from this number on, as `METHOD /path` with VMIDs and tasks left out.
    pub(crate) fn requests_since(&self, first: usize) -> Vec<String> {
        let entries = self.pve.requests().from(first, usize::MAX);
        let mine = entries.into_iter().filter(|entry| entry.caller == DISPATCHER);
        mine.map(|entry| format!("{} {}", entry.method, kind_of(&entry.path))).collect()
    }

    /// The configuration file of a dispatcher for this site.
    pub(crate) fn write_configuration(&self, home: &std::path::Path, max: u32) -> String {
        let ca = self.pve.ca_pem();
        let (url, api_url) = (self.pve.url(), self.github.url());
        let text = format!(
            r#"
installation = "lab"
poll_interval_seconds = 1
[secrets]
pve_token_secret_file = "pve"
github_token_file = "github"
[pve]
endpoints = ["{url}"]
token_id = "{DISPATCHER}"
ca_pem = """
{ca}"""
[github]
api_url = "{api_url}"
[[pools]]
name = "ubuntu"
labels = ["linux", "x64"]
repositories = ["{REPOSITORY}"]
max = {max}
vmid_range = "9100-9107"
resource_pool = "ci"
template = {{ family = "ubuntu-2204", vmid = 9000, node = "pve1" }}
cores = 2
memory_mib = 1024
"#
        );
        write_private(&home.join("pve"), &self.pve.token_secret(DISPATCHER).unwrap());
        write_private(&home.join("github"), &self.github_token);
        let path = home.join("pxci.toml");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Turns a configuration into one that asks as a GitHub App, whose key is the secret then.
    pub(crate) fn ask_as_app(&self, home: &std::path::Path, config: &str) {
        let (id, installation) = self.github.world(|world, now| {
            let permissions = Token::for_repository_runners();
            let (app, id) = world.add_app("Farm", "acme", permissions, SAMPLE_APP_KEY, now).unwrap();
            let owner = REPOSITORY.split('/').next().unwrap();
            (id, world.install_app(app, owner, &[REPOSITORY], now).unwrap())
        });
        let app = format!("[github]\napp = {{ id = \"{id}\", installation_id = {installation} }}\n");
        let text = std::fs::read_to_string(config).unwrap().replacen("[github]\n", &app, 1);
        std::fs::write(config, text).unwrap();
        write_private(&home.join("github"), SAMPLE_APP_KEY);
        self.github.world(|world, _| world.revoke_token(&self.github_token));
    }

    /// Returns the variables of the shipped example, of which those that differ here have this site's values.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let example = include_str!("../../systemd/pxci-dispatcher.default").lines();
        let example = example.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        let mut variables: BTreeMap<_, _> = example.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let secret = self.pve.token_secret(DISPATCHER).unwrap();
        let pairs = [
            ("PROXMOX_URL", format!("{}/api2/json", self.pve.url())),
            ("PROXMOX_NODE", "pve1".into()),
            ("PROXMOX_TOKEN_ID", DISPATCHER.into()),
            ("PROXMOX_TOKEN_SECRET", secret),
            ("PROXMOX_VERIFY_SSL", "false".into()),
            ("PROXMOX_POOL", "ci".into()),
            ("GITHUB_TOKEN", self.github_token.clone()),
            ("GITHUB_API_URL", self.github.url().into()),
            ("RUNNER_ID_START", "9100".into()),
            ("RUNNER_ID_END", "9107".into()),
            ("RUNNER_NAME_PREFIX", "acme".into()),
            ("REPO_OWNER", "acme".into()),
            ("REPO_NAME", "tools".into()),
            ("RUNNER_LABELS", "linux".into()),
            ("POLL_INTERVAL", "1".into()),
        ];
        variables.extend(pairs.map(|(name, value)| (name.to_owned(), value)));
        variables.into_iter().collect()
    }
}

/// The path of a call without what differs from one VM to the next.
fn kind_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path).trim_start_matches("/api2/json");
    let varies = |part: &str| part.starts_with("UPID") || !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    path.split('/').map(|part| if varies(part) { "*" } else { part }).collect::<Vec<_>>().join("/")
}

fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// One node, one template, two foreign guests, and a token with the privileges that are documented for the dispatcher.
fn world(lent: &[u32]) -> World {
    let marker = r#"pxci:v1 {"installation":"lab","owner":"dispatcher","kind":"runner","vmid":9100,"nonce":"aaaaaa","pool":"ubuntu"}"#;
    let template = r#"pxci:v1 {"installation":"lab","owner":"provider","kind":"template","vmid":9000,"nonce":"cccccc","family":"ubuntu-2204","build":"ready"}"#;
    let disk = |vmid: u32, name: &str| json!({ "volid": format!("vmdir:{vmid}/{name}"), "content": "images", "format": "qcow2", "size": 1 << 30, "vmid": vmid });
    let guest = |vmid: u32, config: serde_json::Value| json!({ "vmid": vmid, "type": "qemu", "config": config });
    let grant = |path: &str, kind: &str, who: &str| json!({ "path": path, "propagate": 1, "roleid": "PxciDispatcher", "type": kind, "ugid": who });
    let paths = ["/pool/ci", "/storage/vmdir", "/sdn/zones/localnetwork/vmbr0"];
    let acl: Vec<_> =
        paths.iter().flat_map(|path| [grant(path, "user", "farm@pve"), grant(path, "token", DISPATCHER)]).collect();
    let lent_guest = |vmid: &u32| {
        let marker = format!(
            r#"pxci:v1 {{"installation":"lab","owner":"provider","kind":"runner","vmid":{vmid},"nonce":"bbbbbb","pool":"ubuntu","reap":"finished"}}"#
        );
        guest(
            *vmid,
            json!({ "name": format!("lab-ubuntu-{vmid}-bbbbbb"), "memory": "512", "description": marker, "agent": "1" }),
        )
    };
    let mut guests: Vec<_> = lent.iter().map(lent_guest).collect();
    let members: Vec<_> = lent.iter().chain(&[9000, COPY]).map(|vmid| format!("qemu/{vmid}")).collect();
    guests.extend([
        guest(9000, json!({ "name": "ubuntu-2204-runner-template", "description": template, "template": 1, "agent": "1", "cores": 1, "memory": "512",
            "serial0": "socket", "net0": "virtio=${mac1},bridge=vmbr0", "scsi0": "vmdir:9000/base-9000-disk-0.qcow2,size=1G", "scsihw": "virtio-scsi-pci", "boot": "order=scsi0" })),
        guest(FOREIGN, json!({ "name": "precious", "memory": "512", "scsi0": format!("vmdir:{FOREIGN}/vm-{FOREIGN}-disk-0.qcow2,size=1G") })),
        guest(COPY, json!({ "name": "lab-ubuntu-9100-aaaaaa", "memory": "512", "description": marker, "scsi0": format!("vmdir:{COPY}/vm-{COPY}-disk-0.qcow2,size=1G") })),
    ]);
    let description = json!({
        "node": "pve1",
        "node_cores": 8,
        "acl": acl,
        "groups": [],
        "guests": guests,
        "networks": [{ "active": 1, "autostart": 1, "iface": "vmbr0", "type": "bridge", "method": "manual", "families": ["inet"] }],
        "pools": [{ "poolid": "ci", "members": members }],
        "roles": {
            "Administrator": { "privs": ["VM.Allocate", "VM.Audit"], "special": 1 },
            "PxciDispatcher": { "privs": PRIVILEGES, "special": 0 },
        },
        "storages": [{ "storage": "vmdir", "type": "dir", "path": "/var/lib/vmdir", "content": "images" }],
        "users": [{ "userid": "root@pam", "tokens": [] }, { "userid": "farm@pve", "tokens": [{ "tokenid": DISPATCHER, "privsep": 1 }] }],
        "volumes": [disk(9000, "base-9000-disk-0.qcow2"), disk(FOREIGN, &format!("vm-{FOREIGN}-disk-0.qcow2")), disk(COPY, &format!("vm-{COPY}-disk-0.qcow2"))],
    });
    World::from_json(&description.to_string()).unwrap()
}
