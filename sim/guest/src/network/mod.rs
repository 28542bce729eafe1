//! The network of simulated containers: a node's bridges in a network namespace of their own.
//!
//! ```text
//!  host's network            node's network namespace            container's network namespace
//!  simulator 127.0.0.1:8006 <- relay 10.78.0.1:8006 on vmbr0 ---- veth ---- eth0 (DHCP or fixed)
//!                              dnsmasq: DHCP, RA, DNS
//! ```
//!
//! One process holds the node's user, network and process namespaces. Containers are made inside of that user namespace, so
//! an ordinary user can plug their cards. The only ways out are [`Network::publish`]ed ports.
//!
//! This module must never change the host's network, and never leave anything running. All its processes are in the
//! process namespace of the holder, which ends when the simulator does.

mod dhcp;
mod relay;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

use self::dhcp::Dhcp;
use self::relay::Relay;
use super::host;
use super::sandbox::{PATH, map_users};
use super::state::State;
use sim_backend::NetworkCard;

/// Bridge with the DHCP server.
pub(super) const BRIDGE: &str = "vmbr0";
/// Address of the node on that bridge, at which containers reach published ports.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// IPv6 address of the node on that bridge.
pub const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1);

/// Directory in the state directory with a file for each name that the DNS server knows.
const NAMES: &str = "names";

/// First process of the node's namespaces. Standard input is the lifeline.
const HOLDER: &str = r#"
echo unshared; read -r _; exec sh -c "$@"
"#;
/// Script that runs with the capabilities of the mapped users.
const SETUP: &str = r#"
set -eu
read -r number _ </proc/self/stat
ip link set dev lo up
ip link add "$1" address 02:78:00:00:00:01 type bridge forward_delay 0
ip link set dev "$1" up
ip address add "$2/24" dev "$1"
[ ! -e /proc/sys/net/ipv6 ] || ip address add "$3/64" dev "$1" nodad
echo "ready $number"
while read -r _; do :; done
"#;
/// Script that plugs a container's card into a bridge, which is made if necessary.
const PLUG: &str = r#"
bridge=$1 cable=$2 container=$3 name=$4 mac=$5 up=$6
ip link show dev "$bridge" >/dev/null 2>&1 || {
    ip link add "$bridge" type bridge forward_delay 0
    ip link set dev "$bridge" up
}
ip link add "$cable" type veth peer name "$name" ${mac:+address "$mac"} netns "$container"
ip link set dev "$cable" master "$bridge" "$up"
"#;

/// The network of one simulated node.
#[derive(Debug)]
pub(super) struct Network {
    state: Arc<State>,
    holder: Pid,
    dhcp: Mutex<Option<Dhcp>>,
    relays: Mutex<Vec<Relay>>,
    process: Mutex<Option<(Child, ChildStdin)>>,
}

impl Network {
    /// Makes the namespaces, the bridge and its DHCP server.
    ///
    /// # Errors
    /// The host's reason.
    pub(super) async fn start(state: Arc<State>) -> io::Result<Self> {
        let mut process = spawn_holder()?;
        let (Some(mut input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(io::Error::other("no pipes to the network's first process"));
        };
        let mut lines = BufReader::new(output).lines();
        let mut complaints = BufReader::new(errors).lines();
        let ready = async {
            if lines.next_line().await?.as_deref() != Some("unshared") {
                return Ok(None);
            }
            map_users(&process)?;
            input.write_all(b"go\n").await?;
            let line = lines.next_line().await?.unwrap_or_default();
            Ok::<_, io::Error>(line.strip_prefix("ready ").and_then(|number| Pid::from_raw(number.parse().ok()?)))
        };
        let Some(holder) = ready.await? else {
            let reason = complaints.next_line().await?.unwrap_or_default();
            return Err(io::Error::other(format!("unable to make a network for containers: {reason}")));
        };
        let process = Mutex::new(Some((process, input)));
        std::fs::create_dir_all(state.path().join(NAMES))?;
        let network = Self { state, holder, dhcp: Mutex::default(), relays: Mutex::default(), process };
        network.start_dhcp().await?;
        Ok(network)
    }

    /// Returns the process whose user namespace containers belong to.
    pub(super) fn holder(&self) -> Pid {
        self.holder
    }

    /// Starts the DHCP server, if it does not run.
    ///
    /// # Errors
    /// The host's reason.
    pub(super) async fn start_dhcp(&self) -> io::Result<()> {
        let mut dhcp = self.dhcp.lock().await;
        if dhcp.is_none() {
            let names = self.state.path().join(NAMES);
            *dhcp = Some(Dhcp::start(self.server("dnsmasq", "dnsmasq-base"), &names).await?);
        }
        Ok(())
    }

    /// Stops the DHCP server.
    pub(super) async fn stop_dhcp(&self) {
        if let Some(dhcp) = self.dhcp.lock().await.take() {
            dhcp.stop().await;
        }
    }

    /// Lets containers reach a port of `host`, as seen from this machine. Returns the address for containers. If `host`
    /// is a name, it resolves to that address inside.
    ///
    /// # Errors
    /// The host's reason.
    pub(super) async fn publish(&self, host: &str, port: u16) -> io::Result<SocketAddr> {
        let inside = SocketAddr::from((ADDRESS, port));
        let service = format!("{host}:{port}");
        let mut relays = self.relays.lock().await;
        if relays.iter().any(|relay| relay.service() == service) {
            return Ok(inside);
        }
        let program = self.server("socat", "socat");
        let socket = self.state.path().join(format!("relay-{}", self.state.number()));
        relays.push(Relay::start(program, inside, &socket, service).await?);
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
            std::fs::write(self.state.path().join(NAMES).join(host), format!("{ADDRESS} {host}\n"))?;
        }
        Ok(inside)
    }

    /// Stops all processes of the network and waits for their end.
    pub(super) async fn end(&self) {
        if let Some((mut process, lifeline)) = self.process.lock().await.take() {
            drop(lifeline);
            // The exit status does not matter.
            let _ = process.wait().await;
        }
        self.stop_dhcp().await;
        self.relays.lock().await.clear();
    }

    /// Gives a container its network cards.
    ///
    /// # Errors
    /// The error message of `ip`.
    pub(super) async fn plug(&self, cards: &[NetworkCard], container: Pid) -> io::Result<()> {
        for card in cards {
            let cable = format!("veth{}", self.state.number());
            let state = if card.link_down { "down" } else { "up" };
            let container = container.as_raw_nonzero().to_string();
            let mut command = self.enter();
            command.args(["--", "sh", "-euc", PLUG, "sh", &card.bridge, &cable, &container, &card.name]);
            let output = command.args([&card.mac, state]).output().await?;
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr);
                return Err(io::Error::other(format!("network card {}: {}", card.name, reason.trim())));
            }
        }
        Ok(())
    }

    /// Returns an `nsenter` command for the node's user and network namespace.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--net", "--target"]).arg(self.holder.as_raw_nonzero().to_string());
        command.env_clear().env("PATH", PATH).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Prepares a program of the Debian package `package` as a server in the node's namespaces. The process ends with
    /// the value that holds it.
    fn server(&self, program: &'static str, package: &'static str) -> Server {
        let mut command = self.enter();
        command.args(["--pid", "--", "setpriv", "--pdeathsig", "KILL", "--", program]);
        Server { command, program, package }
    }
}

/// See [`Network::server`].
#[derive(Debug)]
struct Server {
    command: Command,
    program: &'static str,
    package: &'static str,
}

impl Server {
    fn argument(&mut self, argument: impl Into<String>) -> &mut Self {
        self.command.arg(argument.into());
        self
    }

    /// Starts the server and waits until its log has a line with these words.
    async fn ready(mut self, words: &str) -> io::Result<Child> {
        self.command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut process = self.command.spawn()?;
        let errors = process.stderr.take().ok_or_else(|| io::Error::other("no pipe to a server"))?;
        let mut lines = BufReader::new(errors).lines();
        let mut last = String::new();
        while let Some(line) = lines.next_line().await? {
            if line.contains(words) {
                tokio::spawn(async move {
                    while let Ok(Some(line)) = lines.next_line().await {
                        tracing::debug!(line, "containers' network");
                    }
                });
                return Ok(process);
            }
            last = line;
        }
        Err(io::Error::other(format!("{} (Debian package {}) does not serve: {last}", self.program, self.package)))
    }
}

fn spawn_holder() -> io::Result<Child> {
    let mut command = Command::new("unshare");
    if host::is_root() {
        command.arg("--user");
    } else {
        command.args(host::MAPPED);
    }
    command.args(["--net", "--pid", "--fork", "--kill-child", "--", "sh", "-c", HOLDER, "sh", SETUP, "pxci-network"]);
    command.arg(BRIDGE).arg(ADDRESS.to_string()).arg(ADDRESS6.to_string());
    command.env_clear().env("PATH", PATH);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    command.spawn()
}
