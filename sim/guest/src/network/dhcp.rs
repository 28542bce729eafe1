//! The DHCP server of the containers' network: dnsmasq, which also advertises the IPv6 prefix and answers DNS.

use std::io;
use std::path::Path;

use tokio::process::Child;

use super::{ADDRESS6, BRIDGE, Server};

/// Addresses that are leased. Lower ones are for containers with fixed addresses.
const RANGE: &str = "10.78.0.100,10.78.0.199,255.255.255.0,1h";

/// A running server.
#[derive(Debug)]
pub(super) struct Dhcp(Child);

impl Dhcp {
    /// Starts the server and waits until it serves. Files in `names` are hosts files of its DNS server, which notices
    /// new ones.
    pub(super) async fn start(mut program: Server, names: &Path) -> io::Result<Self> {
        for argument in [
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--user=root",
            "--group=root",
            "--leasefile-ro",
            "--no-resolv",
            "--no-hosts",
            "--no-ping",
            "--bind-dynamic",
            "--dhcp-authoritative",
            "--domain=containers.test",
            "--enable-ra",
        ] {
            program.argument(argument);
        }
        program.argument(format!("--hostsdir={}", names.display()));
        program.argument(format!("--interface={BRIDGE}")).argument(format!("--dhcp-range={RANGE}"));
        program.argument(format!("--dhcp-range={ADDRESS6},ra-only,64,1h")).argument(format!("--ra-param={BRIDGE},10"));
        Ok(Self(program.ready("DHCP, IP range").await?))
    }

    /// Stops the server and waits for its end.
    pub(super) async fn stop(mut self) {
        // A server that has ended already need not be killed.
        let _ = self.0.kill().await;
    }
}
