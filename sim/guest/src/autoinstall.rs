//! An unattended installation like that of Ubuntu's installer: the base system, changed as the `autoinstall` document
//! demands.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use serde_json::Value;

use super::cloud_config::{self, CommandLine};
use super::log::Log;
use super::sandbox::Sandbox;

/// Keys of the reference without effect in a simulated guest. They are about its hardware, the live system of its
/// installer, or its locale.
const WITHOUT_EFFECT: &[&str] = &[
    "apt",
    "codecs",
    "debconf-selections",
    "drivers",
    "early-commands",
    "error-commands",
    "interactive-sections",
    "kernel",
    "keyboard",
    "locale",
    "network",
    "oem",
    "proxy",
    "refresh-installer",
    "reporting",
    "shutdown",
    "snaps",
    "source",
    "storage",
    "timezone",
    "updates",
];

/// Replaces the installer's `curtin in-target`. The root of the installation is the root of this guest.
const CURTIN: &str = r#"mkdir -p /run/installer
cat > /run/installer/curtin <<'CURTIN'
#!/bin/sh
[ "$1" = in-target ] || { echo "curtin: only in-target is there" >&2; exit 2; }
shift
while [ $# -gt 0 ]; do
    case $1 in
    --target=*) shift ;;
    -t|--target) shift 2 ;;
    --) shift; break ;;
    *) break ;;
    esac
done
exec "$@"
CURTIN
chmod 755 /run/installer/curtin
[ -e /target ] || ln -s / /target"#;

/// Sets identity, password and host name. The encrypted password is on standard input.
const IDENTITY: &str = r#"echo "$1" > /etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$1" > /etc/hosts
hostname "$1"
useradd --create-home --shell /bin/bash --groups sudo --comment "$3" -- "$2"
chpasswd --encrypted"#;

const AUTHORIZED_KEYS: &str = r#"home=$(getent passwd "$1" | cut -d: -f6)
install -d -m 700 -o "$1" -g "$1" "$home/.ssh"
cat >> "$home/.ssh/authorized_keys"
chown "$1:$1" "$home/.ssh/authorized_keys"
chmod 600 "$home/.ssh/authorized_keys""#;

const PACKAGES: &str = r#"missing=
for package; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -qq install --yes $missing || { apt-get -qq update && apt-get -qq install --yes $missing; }"#;

/// Writes the files that the installer leaves for the first boot. An image must remove them before it becomes a
/// template.
const LEFTOVERS: &str = r#"install -d /etc/cloud/cloud.cfg.d /etc/netplan
echo 'datasource_list: [None]' > /etc/cloud/cloud.cfg.d/99-installer.cfg
echo 'network: {config: disabled}' > /etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg
printf 'network:\n  version: 2\n  ethernets:\n    enp6s18: {dhcp4: true}\n' > /etc/netplan/00-installer-config.yaml"#;

#[derive(Debug, Deserialize)]
struct Identity {
    hostname: String,
    username: String,
    password: String,
    #[serde(default)]
    realname: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Ssh {
    #[serde(default)]
    install_server: bool,
    #[serde(default)]
    authorized_keys: Vec<String>,
    #[serde(default, rename = "allow-pw")]
    _allow_password: Option<bool>,
}

/// A checked `autoinstall` document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Autoinstall {
    version: u32,
    identity: Identity,
    #[serde(default)]
    ssh: Ssh,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    late_commands: Vec<CommandLine>,
    #[serde(default)]
    user_data: Option<Value>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Autoinstall {
    /// Reads the `autoinstall` section of user-data.
    ///
    /// # Errors
    /// The mistake that the installer would show on its screen, where it waits for ever.
    pub(super) fn read(user_data: &str) -> Result<Self, String> {
        let mut document = cloud_config::parse(user_data)?;
        let section = document.remove("autoinstall").ok_or("user-data has no autoinstall section")?;
        let read: Self = serde_json::from_value(section).map_err(|error| format!("autoinstall: {error}"))?;
        if read.version != 1 {
            return Err(format!("autoinstall: version {} is not 1", read.version));
        }
        if !read.identity.password.starts_with('$') {
            return Err("autoinstall: identity.password is not a crypted password".to_owned());
        }
        Ok(read)
    }

    /// Installs into a running guest whose root is the target.
    ///
    /// # Errors
    /// The step that failed, with the message of its program.
    pub(super) async fn install(&self, target: &Sandbox, log: &Log) -> io::Result<()> {
        for key in self.others.keys() {
            let kind = if WITHOUT_EFFECT.contains(&key.as_str()) {
                "without effect in a simulated guest"
            } else {
                "unknown key"
            };
            log.say(&format!("autoinstall: {key}: {kind}"));
        }
        if self.user_data.is_some() {
            log.say("autoinstall: user-data: for the first boot, without effect in a simulated guest");
        }
        let Identity { hostname, username, password, realname } = &self.identity;
        target
            .must("identity", IDENTITY, &[hostname, username, realname], format!("{username}:{password}").as_bytes())
            .await?;
        if !self.ssh.authorized_keys.is_empty() {
            target
                .must(
                    "ssh.authorized-keys",
                    AUTHORIZED_KEYS,
                    &[username],
                    (self.ssh.authorized_keys.join("\n") + "\n").as_bytes(),
                )
                .await?;
        }
        let mut packages: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        if self.ssh.install_server {
            packages.push("openssh-server");
        }
        target.must("packages", PACKAGES, &packages, b"").await?;
        target.must("installer's leftovers", LEFTOVERS, &[], b"").await?;
        self.run_late_commands(target).await
    }

    async fn run_late_commands(&self, target: &Sandbox) -> io::Result<()> {
        target.must("late-commands", CURTIN, &[], b"").await?;
        let run = "PATH=/run/installer:$PATH; export PATH; exec \"$@\"";
        for command in &self.late_commands {
            let words = command.words();
            target.must(&format!("late-commands: {}", words.join(" ")), run, &words, b"").await?;
        }
        target.must("late-commands", "[ ! -L /target ] || rm /target", &[], b"").await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::Autoinstall;

    const GOOD: &str = "#cloud-config\nautoinstall:\n  version: 1\n  identity: {hostname: h, username: ci, password: $6$x$y}\n  late-commands:\n    - echo a\n    - [touch, /x]\n";

    #[test]
    fn a_document_is_checked_before_anything_is_installed() {
        assert!(Autoinstall::read(GOOD).is_ok());
        let refused = |text: &str| Autoinstall::read(text).map(drop).unwrap_err();
        assert!(refused(&GOOD.replace("#cloud-config\n", "")).contains("#cloud-config"));
        assert!(refused(&GOOD.replace("version: 1", "version: 2")).contains("version"));
        assert!(refused(&GOOD.replace("autoinstall:", "autoinstal:")).contains("autoinstall"));
        assert!(refused(&GOOD.replace("username: ci, ", "")).contains("username"));
        assert!(refused(&GOOD.replace("$6$x$y", "secret")).contains("crypted"));
        assert!(refused(&GOOD.replace("[touch, /x]", "{touch: x}")).contains("autoinstall"));
    }
}
