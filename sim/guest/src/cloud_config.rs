//! The parts of cloud-config that runner images use. They are read strictly and applied inside the guest. All other
//! parts are logged.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::log::Log;
use super::sandbox::Sandbox;
use super::seed::Seed;

/// Keys of cloud-init without effect in a simulated guest. They are about its disk, its clock, its keys or its locale.
const WITHOUT_EFFECT: &[&str] = &[
    "disable_root",
    "final_message",
    "growpart",
    "keyboard",
    "locale",
    "ntp",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "resize_rootfs",
    "ssh_deletekeys",
    "ssh_genkeytypes",
    "ssh_pwauth",
    "ssh_quiet_keygen",
    "swap",
    "timezone",
];

/// Parses user-data. A mapping must follow the line `#cloud-config`.
pub(super) fn parse(user_data: &str) -> Result<Map<String, Value>, String> {
    if user_data.lines().next().map(str::trim_end) != Some("#cloud-config") {
        return Err("user-data does not begin with #cloud-config".to_owned());
    }
    match serde_saphyr::from_str::<Value>(user_data).map_err(|error| error.to_string())? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err("user-data is not a mapping".to_owned()),
    }
}

/// A command of `runcmd` or of the installer's `late-commands`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum CommandLine {
    Shell(String),
    Words(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFile {
    path: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    permissions: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    append: bool,
    #[serde(default)]
    defer: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    #[serde(default)]
    gecos: String,
    #[serde(default)]
    shell: Option<String>,
    #[serde(default)]
    groups: Option<Value>,
    #[serde(default)]
    sudo: Option<Value>,
    #[serde(default)]
    passwd: Option<String>,
    #[serde(default)]
    lock_passwd: Option<bool>,
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
}

/// An entry of `users`: `default`, or a described user.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum UserEntry {
    Named(String),
    Described(Box<User>),
}

#[derive(Debug, Deserialize)]
struct CloudConfig {
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    fqdn: Option<String>,
    #[serde(default)]
    preserve_hostname: bool,
    #[serde(default)]
    manage_etc_hosts: Option<Value>,
    #[serde(default)]
    bootcmd: Vec<CommandLine>,
    #[serde(default)]
    write_files: Vec<WriteFile>,
    #[serde(default)]
    users: Vec<UserEntry>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    runcmd: Vec<CommandLine>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MetaData {
    instance_id: String,
    #[serde(default)]
    local_hostname: Option<String>,
}

/// Prints the reason why cloud-init does not read NoCloud seeds: it is not installed, not enabled, or configured
/// otherwise.
const WHY_NO_SEED: &str = r#"command -v cloud-init >/dev/null || { echo "cloud-init is not installed"; exit 0; }
[ ! -e /etc/cloud/cloud-init.disabled ] || { echo "cloud-init is disabled"; exit 0; }
list=$(cat /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg 2>/dev/null | sed -n 's/^datasource_list: *//p' | tail -n 1)
case $list in ''|*NoCloud*) ;; *) echo "cloud-init's datasource_list is $list" ;; esac"#;

const IS_NEW_INSTANCE: &str = r#"old=$(cat /var/lib/cloud/data/instance-id 2>/dev/null || :)
mkdir -p "/var/lib/cloud/instances/$1" /var/lib/cloud/data
ln -sfn "/var/lib/cloud/instances/$1" /var/lib/cloud/instance
echo "$1" > /var/lib/cloud/data/instance-id
[ "$old" = "$1" ] || echo new"#;

/// The file that `cloud-init status` reads.
const STATUS: &str = r#"mkdir -p /run/cloud-init
now=$(date +%s)
stage="{\"errors\": [], \"start\": $now, \"finished\": $now}"
echo "{\"v1\": {\"datasource\": \"$1\", \"init\": $stage, \"init-local\": $stage, \"modules-config\": $stage, \"modules-final\": $stage, \"stage\": null}}" > /run/cloud-init/status.json
echo "{\"v1\": {\"datasource\": \"$1\", \"errors\": []}}" > /run/cloud-init/result.json"#;

const HOST_NAME: &str = r#"hostname "$1"
echo "$1" > /etc/hostname
[ -z "$2" ] || printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" > /etc/hosts"#;

const WRITE_FILE: &str = r#"mkdir -p "$(dirname "$1")"
case $5 in
'') decode=cat ;;
b64|base64) decode='base64 -d' ;;
text/plain) decode=cat ;;
*) echo "unknown encoding $5" >&2; exit 1 ;;
esac
if [ -n "$4" ]; then $decode >> "$1"; else $decode > "$1"; fi
chown "$3" "$1"
chmod "$2" "$1""#;

const USER: &str = r#"getent passwd "$1" >/dev/null || useradd --create-home --shell "$2" --comment "$3" -- "$1"
[ -z "$4" ] || usermod --append --groups "$4" -- "$1"
[ -z "$5" ] || { echo "$1 $5" > "/etc/sudoers.d/90-cloud-init-users-$1"; chmod 440 "/etc/sudoers.d/90-cloud-init-users-$1"; }
[ "$6" = unlocked ] || usermod --lock -- "$1"
read -r password || :
[ -z "$password" ] || usermod --password "$password" -- "$1"
home=$(getent passwd "$1" | cut -d: -f6)
keys=$(cat)
[ -z "$keys" ] || { install -d -m 700 -o "$1" -g "$1" "$home/.ssh"; echo "$keys" > "$home/.ssh/authorized_keys"; chown "$1:$1" "$home/.ssh/authorized_keys"; chmod 600 "$home/.ssh/authorized_keys"; }"#;

/// Acts as cloud-init at a boot. A seed that cannot be read is logged, and the guest boots without it, as with the real
/// cloud-init.
pub(super) async fn boot(guest: &Sandbox, seed: Option<&Seed>, log: &Log) -> io::Result<()> {
    let why_not = guest.must("cloud-init", WHY_NO_SEED, &[], b"").await?;
    if !why_not.is_empty() {
        log.say(why_not.trim());
        return finish(guest, "DataSourceNone").await;
    }
    let Some(seed) = seed else { return finish(guest, "DataSourceNone").await };
    let (meta, config) = match read(seed) {
        Ok(read) => read,
        Err(reason) => {
            log.say(&format!("cloud-init: the seed is not usable: {reason}"));
            return finish(guest, "DataSourceNone").await;
        }
    };
    let is_new = !guest.must("instance-id", IS_NEW_INSTANCE, &[&meta.instance_id], b"").await?.is_empty();
    config.apply(guest, &meta, is_new, log).await?;
    finish(guest, "DataSourceNoCloud [seed=/dev/sr0][dsmode=net]").await
}

async fn finish(guest: &Sandbox, source: &str) -> io::Result<()> {
    guest.must("cloud-init's status", STATUS, &[source], b"").await.map(drop)
}

fn read(seed: &Seed) -> Result<(MetaData, CloudConfig), String> {
    let meta = serde_saphyr::from_str(&seed.meta_data).map_err(|error| format!("meta-data: {error}"))?;
    let config = serde_json::from_value(Value::Object(parse(&seed.user_data)?))
        .map_err(|error| format!("user-data: {error}"))?;
    Ok((meta, config))
}

impl CloudConfig {
    async fn apply(&self, guest: &Sandbox, meta: &MetaData, is_new: bool, log: &Log) -> io::Result<()> {
        for key in self.others.keys() {
            let kind = if WITHOUT_EFFECT.contains(&key.as_str()) {
                "without effect in a simulated guest"
            } else {
                "unknown key"
            };
            log.say(&format!("cloud-init: {key}: {kind}"));
        }
        for command in &self.bootcmd {
            command.run(guest, "bootcmd", log).await;
        }
        if !is_new {
            return Ok(());
        }
        self.write_files(guest, false, log).await;
        self.set_host_name(guest, meta).await?;
        for user in &self.users {
            user.create(guest, log).await;
        }
        if !self.packages.is_empty() {
            let packages: Vec<&str> = self.packages.iter().map(String::as_str).collect();
            report(
                guest
                    .must("packages", "DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes \"$@\"", &packages, b"")
                    .await,
                log,
            );
        }
        self.write_files(guest, true, log).await;
        for command in &self.runcmd {
            command.run(guest, "runcmd", log).await;
        }
        Ok(())
    }

    async fn write_files(&self, guest: &Sandbox, deferred: bool, log: &Log) {
        for file in self.write_files.iter().filter(|file| file.defer == deferred) {
            let permissions = file.permissions.as_deref().unwrap_or("0644");
            let owner = file.owner.as_deref().unwrap_or("root:root");
            let append = if file.append { "append" } else { "" };
            let arguments =
                [file.path.as_str(), permissions, owner, append, file.encoding.as_deref().unwrap_or_default()];
            report(guest.must("write_files", WRITE_FILE, &arguments, file.content.as_bytes()).await, log);
        }
    }

    async fn set_host_name(&self, guest: &Sandbox, meta: &MetaData) -> io::Result<()> {
        let name = self.hostname.as_ref().or(self.fqdn.as_ref()).or(meta.local_hostname.as_ref());
        let Some(name) = name.filter(|_| !self.preserve_hostname) else { return Ok(()) };
        let manage = if matches!(&self.manage_etc_hosts, None | Some(Value::Bool(false))) { "" } else { "manage" };
        guest.must("hostname", HOST_NAME, &[name, manage], b"").await.map(drop)
    }
}

impl CommandLine {
    /// Returns the words of the command. A line is run by the shell.
    pub(super) fn words(&self) -> Vec<&str> {
        match self {
            Self::Shell(line) => vec!["sh", "-c", line],
            Self::Words(words) => words.iter().map(String::as_str).collect(),
        }
    }

    /// Runs a command. As in cloud-init, a failure does not stop the others.
    async fn run(&self, guest: &Sandbox, stage: &str, log: &Log) {
        let words = self.words();
        report(guest.must(&format!("{stage}: {}", words.join(" ")), "exec \"$@\"", &words, b"").await, log);
    }
}

impl UserEntry {
    async fn create(&self, guest: &Sandbox, log: &Log) {
        let user = match self {
            Self::Named(name) => {
                return log.say(&format!("cloud-init: users: {name}: without effect in a simulated guest"));
            }
            Self::Described(user) => user,
        };
        let list = |value: &Option<Value>, separator: &str| match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(separator),
            _ => String::new(),
        };
        let groups = list(&user.groups, ",").replace(' ', "");
        let lock = if user.lock_passwd == Some(false) { "unlocked" } else { "locked" };
        let shell = user.shell.as_deref().unwrap_or("/bin/bash");
        let input = format!("{}\n{}", user.passwd.as_deref().unwrap_or_default(), user.ssh_authorized_keys.join("\n"));
        let arguments = [user.name.as_str(), shell, &user.gecos, &groups, &list(&user.sudo, "\n"), lock];
        report(guest.must("users", USER, &arguments, input.as_bytes()).await, log);
    }
}

fn report(result: io::Result<String>, log: &Log) {
    if let Err(error) = result {
        log.say(&format!("cloud-init: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{Seed, read};

    fn seed(user_data: &str) -> Seed {
        Seed { user_data: user_data.to_owned(), meta_data: "instance-id: i-1\n".to_owned() }
    }

    #[test]
    fn values_of_wrong_types_are_refused() {
        assert!(
            read(&seed(
                "#cloud-config\nruncmd:\n  - [touch, /x]\n  - echo hello\nwrite_files:\n  - {path: /a, content: b}\n"
            ))
            .is_ok()
        );
        for bad in [
            "runcmd: []\n",
            "#cloud-config\n- a\n",
            "#cloud-config\nruncmd: {a: b}\n",
            "#cloud-config\nwrite_files: [{content: x}]\n",
            "#cloud-config\na: [\n",
        ] {
            assert!(read(&seed(bad)).is_err(), "{bad:?}");
        }
        let nameless = Seed { meta_data: "{}".to_owned(), ..seed("#cloud-config\n") };
        assert!(read(&nameless).is_err(), "an instance has an id");
    }
}
