//! The dispatcher's real program where VMs fail: the causes that it shows, and how soon it tries again.

use std::collections::BTreeSet;
use std::time::Duration;

use pxci_dispatcher::configuration::from_file;
use sim_pve::Fault;
use tokio::time::{Instant, sleep};

use crate::daemon::{Daemon, Home};
use crate::simulated_farm::SimulatedFarm;

const LIMIT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(20);
/// A pool whose last four VMs failed waits 40 s.
const FAILURES: usize = 4;
const SOON: Duration = Duration::from_secs(30);

async fn until(what: &str, home: &Home, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}\n{}", home.said());
        sleep(POLL).await;
    }
}

/// Returns the names of the VMs whose end is in the log. A correction of the audit repeats a VM's line.
fn ended_vms(log: &str) -> BTreeSet<&str> {
    let ends = log.lines().filter(|line| line.contains(" gone: "));
    ends.filter_map(|line| line.split("vm=\"").nth(1)?.split('"').next()).collect()
}

/// A dispatcher whose clones all fail, so that it waits before it makes another.
struct Failing {
    site: SimulatedFarm,
    home: Home,
    daemon: Daemon,
    config: String,
    _directory: tempfile::TempDir,
}

impl Failing {
    async fn start(site: SimulatedFarm) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let config = site.write_configuration(directory.path(), 1);
        let refusal = Fault::Refuse { status: 500, text: "no space left on device".into() };
        site.pve.inject("POST", "/nodes/pve1/qemu/9000/clone", refusal, 1000);
        let daemon = home.start(&[], &[]);
        let socket = directory.path().join("socket");
        until("the dispatcher listens", &home, || socket.exists()).await;
        home.configure(&from_file(config.as_ref()).unwrap()).await;
        site.queue(1);
        until("several VMs have failed", &home, || home.said().matches("gone: ").count() >= FAILURES).await;
        Self { site, home, daemon, config, _directory: directory }
    }

    /// Mends what made the clones fail; the dispatcher does not notice that by itself.
    fn mend(&self) {
        self.site.pve.faults().clear();
    }

    /// Waits until the reason for which the pool no longer waits was logged this many times, and checks that a VM is made
    /// soon after.
    async fn assert_tries_again(self, why: &str, times: usize) {
        until("the wait ends", &self.home, || self.home.said().matches(why).count() >= times).await;
        let ended = Instant::now();
        until("the next VM is made", &self.home, || !self.site.vms().is_empty()).await;
        assert!(ended.elapsed() < SOON, "{}", self.home.said());
        until("nothing is left", &self.home, || self.site.is_clean()).await;
        assert!(self.daemon.terminate(LIMIT).await, "{}", self.home.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_failures_is_shown_and_a_request_to_retry_ends_the_wait() {
    let failing = Failing::start(SimulatedFarm::start().await).await;
    let status = failing.home.status().await;
    let message = "the last 4 VMs of pool ubuntu failed: unable to clone runner VM";
    let of_pool = status.problems.iter().find(|problem| problem.message.contains(message));
    assert!(of_pool.is_some_and(|problem| problem.message.contains("no space left on device")), "{status:#?}");
    assert_eq!(status.waiting.len(), 1);
    assert!(status.waiting[0].reason.contains("no space left on device"), "{status:#?}");
    failing.mend();
    failing.home.retry().await;
    failing.assert_tries_again("asked to retry", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_ends_the_wait() {
    let failing = Failing::start(SimulatedFarm::start().await).await;
    failing.mend();
    let mut settings = from_file(failing.config.as_ref()).unwrap();
    settings.config.pools[0].cores = Some(1);
    failing.home.configure(&settings).await;
    failing.assert_tries_again("a configuration is in force", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_has_room_again_ends_the_wait() {
    let site = SimulatedFarm::start().await;
    site.pve.leave_free("pve1", "vmdir", 0);
    let failing = Failing::start(site).await;
    let polled = || failing.site.requests_since(0).iter().any(|request| request.ends_with("/storage/vmdir/status"));
    until("the storage was polled", &failing.home, polled).await;
    failing.mend();
    failing.site.pve.leave_free("pve1", "vmdir", 50 << 30);
    failing.assert_tries_again("its template or storage changed", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_was_cut_off_is_explained_and_costs_its_slot_only() {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    site.pve.inject("POST", "/nodes/pve1/qemu/9000/clone", Fault::KillTask, 1);
    let daemon = home.start(&["--config", &config], &[]);
    let jobs = site.queue(4);
    let runners = site.runners_of(&jobs, LIMIT).await;
    assert!(runners.is_some_and(|runners| runners.len() == 4), "{}", home.said());
    until("only the rest of the clone is left", &home, || site.vms().len() == 1).await;
    let vmid = site.vms()[0];
    let advice = format!("`qm unlock {vmid}` and `qm destroy {vmid} --destroy-unreferenced-disks 1`");
    until("the status says what to do", &home, || home.said().contains(&advice)).await;
    let status = home.status().await;
    assert!(status.problems.iter().any(|problem| problem.message.contains(&advice)), "{status:#?}");
    let about_it = || {
        let entries = site.pve.requests().entries().into_iter();
        entries.filter(|entry| entry.path.contains(&format!("/qemu/{vmid}/"))).count()
    };
    let changes = site.pve.requests().entries();
    let changed = changes.iter().any(|entry| entry.method != "GET" && entry.path.contains(&format!("/qemu/{vmid}")));
    assert!(!changed, "nothing is done to a guest that cannot be proven to be ours");
    assert!(about_it() <= 20, "{} requests about it", about_it());

    // A person removes it.
    site.pve.set_lock(vmid, None);
    let path = format!("/nodes/pve1/qemu/{vmid}");
    site.pve.call("root@pam", "DELETE", &path, &[("destroy-unreferenced-disks", "1")]).await.unwrap();
    home.retry().await;
    until("all five VMs are forgotten", &home, || site.is_clean() && ended_vms(&home.said()).len() == 5).await;
    assert!(home.status().await.problems.is_empty());
    assert_eq!(site.pve.leftovers(), Vec::<String>::new());
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}
