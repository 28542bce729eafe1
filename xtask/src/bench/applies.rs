//! Measures an apply of many started VMs at the pace of a real server: its duration, and its requests to Proxmox VE.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use farm::harness::Core;
use farm::mirror::SOURCE;
use farm::simulation::{Farm, Guests, SimulatedPve, Simulation, usual_world};
use sim_pve::Latency;

use super::configurations::{ConfigurationPair, Provider, Subject};
use super::report::{Limit, Row};
use super::spread::Spread;
use super::subject;

/// Number of applies. Each starts without VMs.
const TIMES: u32 = 3;
/// Seconds that bpg/proxmox took for 200 started VMs in an earlier measurement. This program does not repeat it.
const PEER: f64 = 6.0;
/// Number of VMs of that measurement.
const PEER_VMS: f64 = 200.0;
const TEMPLATE: u32 = 9000;

/// Applies and destroys, and counts the requests of an apply.
pub(super) async fn measure(core: &Core, program: &Path, vms: u32) -> Result<Vec<Row>> {
    let subject = Subject {
        name: subject::PXCI,
        provider: Some(Provider { source: SOURCE, program: program.to_owned(), block: "" }),
        resource: "pxci_runner_vm",
        arguments: "  name = \"it-${count.index}\"\n  resource_pool = \"pxci-runners\"\n  \
                    vmid_range = \"10000-19999\"\n  template_vmid = 9000\n  started = true",
    };
    let world = usual_world().template(TEMPLATE, "plain", "local-lvm", "pxci-runners");
    let simulation =
        Simulation { world: Some(world), latency: Some(Latency::Real), ..Simulation::of(Guests::Scripted) };
    let farm = Farm::simulated_as(simulation).await?;
    let pve = farm.simulated_pve.as_ref().context("no simulated Proxmox VE")?;
    let mut site = ConfigurationPair::lay_out(core, &subject, vms)?;
    for (name, value) in farm.provider_environment(site.path())? {
        site.set(&name, &value);
    }
    let (mut seconds, mut requests) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let before = asked(&farm, pve);
        seconds.push(site.applied.apply().await?.took.as_secs_f64());
        requests.push((asked(&farm, pve) - before) / f64::from(vms));
        let running = pve.handle.running().len();
        ensure!(running == vms as usize, "{running} of {vms} VMs run");
        site.applied.destroy().await?;
    }
    let what = |of: &str| format!("apply, {vms} VMs to create and start, {of}, {core}");
    Ok(vec![
        row(&what("server at real pace"), "s", &seconds, Some(Limit::AtMost(PEER * f64::from(vms) / PEER_VMS)))?,
        row(&what("requests to Proxmox VE"), "per VM", &requests, None)?,
    ])
}

fn row(what: &str, unit: &'static str, measured: &[f64], limit: Option<Limit>) -> Result<Row> {
    let spread = Spread::of(measured).context("nothing was measured")?;
    Ok(Row { what: what.to_owned(), subject: subject::PXCI, unit, spread, to_go: None, to_built_in: None, limit })
}

/// Returns the number of the provider's requests so far.
fn asked(farm: &Farm, pve: &SimulatedPve) -> f64 {
    let entries = pve.handle.requests().entries();
    let own = entries.iter().filter(|entry| entry.caller == farm.pve.provider.id).count();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    let count = own as f64;
    count
}
