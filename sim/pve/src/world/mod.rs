//! The contents of a simulated cluster. This file describes its initial state, read from JSON or built in code.

pub(crate) mod drives;
pub(crate) mod ext4;
pub(crate) mod guest;
pub(crate) mod layout;
pub(crate) mod nodes;
pub(crate) mod scale;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod storages;
pub(crate) mod store;
pub(crate) mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::line::Line;
use crate::params;
use crate::schema::Schema;
use guest::{Guest, Kind};
use nodes::Node;
use state::{Pool, State, Subject, Token, User};
use storages::Storage;
use store::Store;
use volumes::Volume;

/// The description of a cluster. Its JSON form is that of the recordings' `world.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct World {
    node: String,
    /// Names of the nodes other than `node`.
    nodes: Vec<String>,
    node_cores: u32,
    acl: Vec<AclEntry>,
    datacenter_options: BTreeMap<String, Value>,
    groups: Vec<GroupEntry>,
    guests: Vec<GuestEntry>,
    networks: Vec<Map<String, Value>>,
    pools: Vec<PoolEntry>,
    roles: BTreeMap<String, RoleEntry>,
    storages: Vec<Map<String, Value>>,
    users: Vec<UserEntry>,
    version: Value,
    /// Sizes of storages in bytes, if given.
    #[serde(skip)]
    sizes: BTreeMap<String, u64>,
    /// True if PVE's built-in roles exist too.
    #[serde(skip)]
    standard_roles: bool,
    volumes: Vec<VolumeEntry>,
}

#[derive(Debug, Clone, Deserialize)]
struct AclEntry {
    path: String,
    propagate: u8,
    roleid: String,
    #[serde(rename = "type")]
    subject: String,
    ugid: String,
}

#[derive(Debug, Clone, Deserialize)]
struct GroupEntry {
    groupid: String,
    comment: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct GuestEntry {
    vmid: u32,
    #[serde(rename = "type")]
    kind: String,
    config: BTreeMap<String, Value>,
    /// Name of the guest's node. By default the first one.
    node: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct PoolEntry {
    poolid: String,
    comment: Option<String>,
    #[serde(default)]
    members: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct RoleEntry {
    privs: Vec<String>,
    special: u8,
}

#[derive(Debug, Clone, Deserialize)]
struct TokenEntry {
    tokenid: String,
    privsep: u8,
    #[serde(default)]
    expire: u64,
    comment: Option<String>,
    secret: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct UserEntry {
    userid: String,
    #[serde(default = "one")]
    enable: u8,
    #[serde(default)]
    expire: u64,
    comment: Option<String>,
    email: Option<String>,
    #[serde(default)]
    groups: String,
    password: Option<String>,
    #[serde(default)]
    tokens: Vec<TokenEntry>,
}

fn one() -> u8 {
    1
}

#[derive(Debug, Clone, Deserialize)]
struct VolumeEntry {
    volid: String,
    content: String,
    format: String,
    size: u64,
    vmid: Option<u32>,
    /// Volume id of the base image of a linked clone.
    parent: Option<String>,
    /// Node whose local storage has the volume. By default the first one.
    node: Option<String>,
}

/// Error in a description.
#[derive(Debug, thiserror::Error)]
#[error("the world's description cannot be read: {place} (line {line}, column {column})")]
pub struct WorldError {
    /// Position as in `guests[3].vmid`.
    place: String,
    line: usize,
    column: usize,
    source: serde_json::Error,
}

impl World {
    /// Reads a description. Without a node in it the cluster has `pve1`, and without roles it has PVE's built-in ones.
    ///
    /// # Errors
    /// Names the position of a mistake.
    pub fn from_json(text: &str) -> Result<Self, WorldError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let wrong = |place: String, source: serde_json::Error| {
            let place = if place == "." { "the whole".to_owned() } else { place };
            WorldError { place, line: source.line(), column: source.column(), source }
        };
        let world = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| wrong(error.path().to_string(), error.into_inner()))?;
        reader.end().map_err(|source| wrong("after its end".to_owned(), source))?;
        let mut world: Self = world;
        world.standard_roles = world.roles.is_empty();
        if world.node.is_empty() {
            world.node = "pve1".to_owned();
        }
        Ok(world)
    }

    /// Creates one node with the bridge `vmbr0`, the built-in roles and `root@pam`.
    #[must_use]
    pub fn new(node: &str) -> Self {
        let mut world = Self { node: node.to_owned(), node_cores: 8, standard_roles: true, ..Self::default() };
        world = world.bridge("vmbr0");
        world.users.push(UserEntry {
            userid: "root@pam".into(),
            enable: 1,
            expire: 0,
            comment: None,
            email: None,
            groups: String::new(),
            password: None,
            tokens: Vec::new(),
        });
        world
    }

    /// Adds a node with the same bridges.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.nodes.push(name.to_owned());
        self
    }

    /// Adds a directory storage with these content types (`images`, `rootdir`, `iso`, `vztmpl`, `snippets`, `import`,
    /// `backup`).
    #[must_use]
    pub fn storage(mut self, name: &str, content: &[&str]) -> Self {
        let value = serde_json::json!({ "storage": name, "type": "dir", "path": format!("/var/lib/{name}"), "content": content.join(",") });
        self.storages.extend(value.as_object().cloned());
        self
    }

    /// Returns the name of the first node.
    #[must_use]
    pub fn first_node(&self) -> &str {
        &self.node
    }

    /// Adds a VM template on the first node, with a disk, the guest agent and a network card.
    #[must_use]
    pub fn template(self, vmid: u32, name: &str, storage: &str, pool: &str) -> Self {
        let mut world = self.pool(pool);
        world
            .pools
            .iter_mut()
            .filter(|known| known.poolid == pool)
            .for_each(|pool| pool.members.push(format!("qemu/{vmid}")));
        world.with_template(vmid, name, storage)
    }

    fn with_template(mut self, vmid: u32, name: &str, storage: &str) -> Self {
        let disk = format!("{storage}:{vmid}/base-{vmid}-disk-0.raw");
        let config = [
            ("agent", "1"),
            ("boot", "order=scsi0;net0"),
            ("cores", "1"),
            ("memory", "512"),
            ("name", name),
            ("net0", "virtio=${mac1},bridge=vmbr0"),
            ("ostype", "l26"),
            ("scsi0", &format!("{disk},size=1G")),
            ("scsihw", "virtio-scsi-pci"),
            ("smbios1", "uuid=${uuid1}"),
            ("template", "1"),
            ("vmgenid", "${uuid2}"),
        ];
        let config = config.map(|(key, value)| (key.to_owned(), Value::from(value))).into();
        let node = self.node.clone();
        self.add_guest(vmid, "qemu", &node, config);
        self.add_disk(disk, 1 << 30, vmid, &node);
        self
    }

    /// Adds a storage of any type.
    #[must_use]
    pub fn store(mut self, name: &str, store: Store) -> Self {
        let mut definition = store.definition;
        definition.insert("storage".to_owned(), name.into());
        self.storages.push(definition);
        if let Some(size) = store.size {
            self.sizes.insert(name.to_owned(), size);
        }
        self
    }

    /// Adds a bridge on every node.
    #[must_use]
    pub fn bridge(mut self, name: &str) -> Self {
        let value = serde_json::json!({ "active": 1, "autostart": 1, "iface": name, "type": "bridge", "method": "manual", "families": ["inet"] });
        self.networks.extend(value.as_object().cloned());
        self
    }

    /// Adds an empty resource pool, unless it exists.
    #[must_use]
    pub fn pool(mut self, name: &str) -> Self {
        if self.pools.iter().all(|known| known.poolid != name) {
            self.pools.push(PoolEntry { poolid: name.to_owned(), comment: None, members: Vec::new() });
        }
        self
    }

    /// Adds a role with these privileges.
    #[must_use]
    pub fn role(mut self, name: &str, privileges: &[&str]) -> Self {
        let privs = privileges.iter().map(|p| (*p).to_owned()).collect();
        self.roles.insert(name.to_owned(), RoleEntry { privs, special: 0 });
        self
    }

    /// Adds a user (`name@realm`) with a password for logins.
    #[must_use]
    pub fn user(mut self, userid: &str, password: &str) -> Self {
        self.users.retain(|user| user.userid != userid);
        self.users.push(UserEntry {
            userid: userid.to_owned(),
            enable: 1,
            expire: 0,
            comment: None,
            email: None,
            groups: String::new(),
            password: Some(password.to_owned()),
            tokens: Vec::new(),
        });
        self
    }

    /// Adds a token of an existing user. Its secret is generated at the start ([`crate::Handle::token_secret`]).
    #[must_use]
    pub fn token(mut self, userid: &str, name: &str, separated: bool) -> Self {
        if let Some(user) = self.users.iter_mut().find(|user| user.userid == userid) {
            let tokenid = format!("{userid}!{name}");
            user.tokens.push(TokenEntry {
                tokenid,
                privsep: u8::from(separated),
                expire: 0,
                comment: None,
                secret: None,
            });
        }
        self
    }

    /// Grants a role on a path to a user or, with `!` in its id, to a token. The grant propagates.
    #[must_use]
    pub fn grant(mut self, path: &str, who: &str, role: &str) -> Self {
        let subject = if who.contains('!') { "token" } else { "user" };
        self.acl.push(AclEntry {
            path: path.to_owned(),
            propagate: 1,
            roleid: role.to_owned(),
            subject: subject.to_owned(),
            ugid: who.to_owned(),
        });
        self
    }

    pub(crate) fn add_guest(&mut self, vmid: u32, kind: &str, node: &str, config: BTreeMap<String, Value>) {
        self.guests.push(GuestEntry { vmid, kind: kind.to_owned(), config, node: Some(node.to_owned()) });
    }

    pub(crate) fn add_disk(&mut self, volid: String, size: u64, vmid: u32, node: &str) {
        let (content, format) = ("images".to_owned(), "raw".to_owned());
        let node = Some(node.to_owned());
        self.volumes.push(VolumeEntry { volid, content, format, size, vmid: Some(vmid), parent: None, node });
    }

    pub(crate) fn add_to_pool(&mut self, pool: &str, vmid: u32) {
        if let Some(pool) = self.pools.iter_mut().find(|entry| entry.poolid == pool) {
            pool.members.push(format!("qemu/{vmid}"));
        }
    }

    /// Returns the line of Proxmox VE that the description names.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        self.version["release"].as_str()?.parse().ok()
    }

    /// Returns the initial state. `start` is in seconds since the epoch. Missing secrets, MAC addresses and UUIDs are
    /// generated from the seed.
    pub(crate) fn build(&self, seed: u64, schema: &Schema, start: u64) -> State {
        let mut state = State::new(seed, schema.line);
        for (name, privileges) in schema.roles.iter().filter(|_| self.standard_roles) {
            state.roles.insert(name.clone(), (privileges.clone(), true));
        }
        if !self.version.is_null() {
            state.version = self.version.clone();
        }
        for (name, value) in &self.datacenter_options {
            // Values that are not text are computed from the guests or parsed from other values.
            if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
                state.options.insert(name.clone(), value.to_owned());
            }
        }
        state.first_node.clone_from(&self.node);
        let cores = if self.node_cores == 0 { 2 } else { self.node_cores };
        for name in std::iter::once(&self.node).chain(&self.nodes) {
            let number = u32::try_from(state.nodes.len()).unwrap_or(0) + 1;
            let networks = self.networks.clone();
            state.nodes.insert(name.clone(), Node { number, cores, memory: 64 << 30, networks, away: None });
        }
        for (name, role) in &self.roles {
            state.roles.insert(name.clone(), (role.privs.iter().cloned().collect(), role.special == 1));
        }
        for group in &self.groups {
            state.groups.insert(group.groupid.clone(), group.comment.clone());
        }
        self.users.iter().for_each(|user| add_user(&mut state, user));
        for entry in &self.acl {
            let subject = match entry.subject.as_str() {
                "group" => Subject::Group,
                "token" => Subject::Token,
                _ => Subject::User,
            };
            state
                .acl
                .entry(entry.path.clone())
                .or_default()
                .insert((subject, entry.ugid.clone(), entry.roleid.clone()), entry.propagate == 1);
        }
        self.storages.iter().for_each(|storage| add_storage(&mut state, storage));
        for (name, size) in &self.sizes {
            if let Some(storage) = state.storages.get_mut(name) {
                storage.size = *size;
            }
        }
        self.volumes.iter().for_each(|volume| add_volume(&mut state, &self.node, volume, start));
        self.guests.iter().for_each(|guest| add_guest(&mut state, &self.node, guest, start));
        for pool in &self.pools {
            let guests = pool.members.iter().filter_map(|member| member.rsplit('/').next()?.parse().ok()).collect();
            state
                .pools
                .insert(pool.poolid.clone(), Pool { comment: pool.comment.clone(), guests, storages: BTreeSet::new() });
        }
        state
    }
}

fn add_user(state: &mut State, entry: &UserEntry) {
    let mut user = User {
        enabled: entry.enable == 1,
        expire: entry.expire,
        comment: entry.comment.clone(),
        email: entry.email.clone(),
        groups: params::split_list(&entry.groups).into_iter().collect(),
        ..User::default()
    };
    user.password = entry
        .password
        .as_ref()
        .map(|given| if given.starts_with("${") { format!("pw-{}", state.uuid()) } else { given.clone() });
    for token in &entry.tokens {
        let given = token.secret.clone().filter(|secret| !secret.starts_with("${"));
        let made = Token {
            secret: given.unwrap_or_else(|| state.uuid()),
            separated: token.privsep == 1,
            expire: token.expire,
            comment: token.comment.clone(),
        };
        let name = token.tokenid.rsplit('!').next().unwrap_or_default().to_owned();
        user.tokens.insert(name, made);
    }
    state.users.insert(entry.userid.clone(), user);
}

fn add_storage(state: &mut State, entry: &Map<String, Value>) {
    let name = entry.get("storage").and_then(Value::as_str).unwrap_or_default();
    state.storages.insert(name.to_owned(), Storage::defined(entry));
}

fn add_volume(state: &mut State, node: &str, entry: &VolumeEntry, start: u64) {
    let of_guest = matches!(entry.content.as_str(), "images" | "rootdir");
    let mut volume = if of_guest {
        Volume::new(&entry.content, &entry.format, entry.size, start)
    } else {
        Volume::file(&entry.content, &entry.format, entry.size, start)
    };
    volume.vmid = entry.vmid;
    volume.parent.clone_from(&entry.parent);
    state.put_volume(entry.node.as_deref().unwrap_or(node), &entry.volid, volume);
}

fn add_guest(state: &mut State, node: &str, entry: &GuestEntry, start: u64) {
    let kind = if entry.kind == "lxc" { Kind::Lxc } else { Kind::Qemu };
    let mut guest = Guest::new(kind, entry.node.as_deref().unwrap_or(node));
    for (key, value) in &entry.config {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        guest.set(key, &filled_in(state, &text, start));
    }
    state.guests.insert(entry.vmid, guest);
}

/// Replaces placeholders such as `${mac1}` by values.
fn filled_in(state: &mut State, text: &str, start: u64) -> String {
    let mut out = text.to_owned();
    while let Some(from) = out.find("${") {
        let Some(length) = out[from..].find('}') else { break };
        let name = out[from + 2..from + length].to_owned();
        let value = if name.starts_with("mac") {
            state.mac()
        } else if name.starts_with("uuid") {
            state.uuid()
        } else {
            start.to_string()
        };
        out.replace_range(from..=from + length, &value);
    }
    out
}
