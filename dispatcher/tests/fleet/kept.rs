//! The logs of failed VMs, which the real program keeps before it destroys them.

use std::time::Duration;

use pxci_dispatcher::configuration::from_file;
use pxci_dispatcher::settings::Settings;
use tokio::time::{Instant, sleep};

use crate::assert_no_secret;
use crate::daemon::{Daemon, Home};
use crate::simulated_farm::SimulatedFarm;

const LIMIT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(20);

/// A dispatcher with one queued job, and a changed configuration.
struct Failing {
    site: SimulatedFarm,
    home: Home,
    daemon: Daemon,
    _directory: tempfile::TempDir,
}

impl Failing {
    async fn start(site: SimulatedFarm, change: impl Fn(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let config = site.write_configuration(directory.path(), 1);
        let daemon = home.start(&[], &[]);
        let failing = Self { site, home, daemon, _directory: directory };
        let socket = failing.home.path.join("socket");
        failing.until("the dispatcher listens", || socket.exists()).await;
        let mut settings = from_file(config.as_ref()).unwrap();
        change(&mut settings);
        failing.home.configure(&settings).await;
        failing.site.queue(1);
        failing
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline, "{what}\n{}", self.home.said());
            sleep(POLL).await;
        }
    }

    /// Returns the text of the first log that is kept, and checks that the status names its file.
    async fn first_log(&self) -> String {
        self.until("a log is kept", || !self.home.kept().is_empty()).await;
        self.until("its VM is gone", || self.home.said().contains("gone: ")).await;
        let file = self.home.kept().remove(0);
        let status = self.home.status().await;
        let named = |log: &dispatcher_api::KeptLog| {
            file.ends_with(&log.file) && file.to_string_lossy().contains(log.vm.as_str())
        };
        assert!(status.kept.iter().any(named), "{status:#?}");
        std::fs::read_to_string(file).unwrap()
    }

    /// Returns the number of the first request to PVE whose path ends so.
    fn first_request(&self, end: &str) -> Option<usize> {
        self.site.requests_since(0).iter().position(|request| request.ends_with(end))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_the_serial_console_of_a_vm_whose_agent_is_silent_is_kept_before_the_vm_is_stopped() {
    let site = SimulatedFarm::start_without_agents().await;
    let failing = Failing::start(site, |settings| settings.config.pools[0].boot_limit_seconds = 2).await;
    let log = failing.first_log().await;
    for text in
        ["its guest agent did not answer", "=== the serial console\nstarting serial terminal on interface serial0"]
    {
        assert!(log.contains(text), "{text} in {log}");
    }
    let (console, stop) = (failing.first_request("/termproxy"), failing.first_request("/status/stop"));
    assert!(console.is_some() && console < stop, "{console:?} before {stop:?}");
    assert!(failing.daemon.terminate(LIMIT).await, "{}", failing.home.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_log_in_which_the_guest_wrote_its_registration_is_kept_without_it() {
    let site = SimulatedFarm::start_with_long_jobs().await;
    let failing = Failing::start(site, |settings| settings.config.pools[0].job_limit_seconds = 3).await;
    let log = failing.first_log().await;
    for text in ["its job exceeded the pool's limit", "INFO Listener] Running job", "[masked]", "the end"] {
        assert!(log.contains(text), "{text} in {log}");
    }
    assert_no_secret(&failing.site, &failing.home);
    assert!(failing.daemon.terminate(LIMIT).await, "{}", failing.home.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_vm_in_quarantine_is_shown_runs_on_and_is_destroyed_when_a_person_releases_it() {
    let change = |settings: &mut Settings| {
        let pool = &mut settings.config.pools[0];
        (pool.boot_limit_seconds, pool.max) = (2, 2);
        pool.quarantine = Some(dispatcher_api::Quarantine { max: 1, keep_for_seconds: 3600 });
    };
    let failing = Failing::start(SimulatedFarm::start_without_agents().await, change).await;
    failing.until("a second VM has failed", || failing.home.said().contains("gone: ")).await;
    let status = failing.home.status().await;
    let [kept] = &status.quarantined[..] else { panic!("{status:#?}") };
    assert_eq!(kept.reason, "its guest agent did not answer within the pool's boot limit");
    let vmid = kept.vmid.get();
    assert!(failing.site.pve.running().contains(&vmid));
    assert!(!failing.home.release("9999").await, "this VM does not exist");
    assert!(failing.home.release(&vmid.to_string()).await, "{}", failing.home.said());
    let gone = format!("vm=\"{}\"", kept.vm);
    let is_gone = || failing.home.said().lines().any(|line| line.contains("gone: ") && line.contains(&gone));
    failing.until("the VM is destroyed", is_gone).await;
    assert!(failing.daemon.terminate(LIMIT).await, "{}", failing.home.said());
}
