//! The dispatcher's real program against the simulators: jobs come, VMs take one each, and nothing is left.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "they watch the real program by the clock")]

mod daemon;
mod failures;
mod guests;
mod kept;
mod kills;
mod restored;
mod simulated_farm;
mod two_dispatchers;
mod victim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daemon::Home;
use sim_pve::Fault;
use simulated_farm::{LENT, LENT_AND_NEVER_STARTED, SimulatedFarm};
use tokio::time::{Instant, sleep};

/// Longer than any of it takes on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(240);
/// How often something is looked at that does not tell by itself.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until a condition holds, watching that the limit of VMs does too.
async fn until(what: &str, site: &SimulatedFarm, home: &Home, max: usize, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(site.vms().len() <= max, "I2: {:?} exist\n{}", site.vms(), home.said());
        assert!(Instant::now() < deadline, "{what}: {:?}\n{}", site.pve.leftovers(), home.said());
        sleep(LOOK).await;
    }
}

/// Waits for all jobs, then for all traces of them to go.
async fn done(site: &SimulatedFarm, home: &Home, jobs: &[u64], max: usize) -> Vec<String> {
    let watched = until("nothing is left in the end", site, home, max, || site.are_over(jobs) && site.is_clean());
    watched.await;
    site.runners_of(jobs, Duration::from_secs(1)).await.unwrap_or_else(|| panic!("a job failed\n{}", home.said()))
}

fn assert_no_secret(site: &SimulatedFarm, home: &Home) {
    let secrets = site.guests.secrets.lock().unwrap().clone();
    assert!(!secrets.is_empty());
    let said = home.said();
    let requests: String = site.pve.requests().entries().into_iter().map(|entry| entry.path).collect();
    for secret in &secrets {
        assert!(!said.contains(secret.as_str()) && !requests.contains(secret.as_str()));
        for (path, content) in home.files() {
            assert!(
                !content.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "I6: a JIT configuration in {path:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_than_the_limit_get_a_vm_each_and_nothing_is_left_and_no_secret_is_reported() {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    let jobs = site.queue(5);
    let daemon = home.start(&["--config", &config], &[]);
    let runners = done(&site, &home, &jobs, 2).await;
    assert_eq!(runners.iter().collect::<BTreeSet<_>>().len(), 5, "I1: {runners:?}");
    assert_eq!(site.pve.leftovers(), Vec::<String>::new());
    assert_no_secret(&site, &home);
    site.assert_foreign_guests_are_unharmed();
    assert_eq!(site.github.violations(), Vec::<String>::new());
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_that_asks_as_an_app_needs_no_token() {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    site.ask_as_app(directory.path(), &config);
    let jobs = site.queue(2);
    let daemon = home.start(&["--config", &config], &[]);
    done(&site, &home, &jobs, 2).await;
    let callers: BTreeSet<String> = site.github.requests().entries().into_iter().map(|entry| entry.caller).collect();
    assert!(!callers.iter().any(|caller| caller.starts_with("token")), "{callers:?}");
    assert_eq!(site.pve.leftovers(), Vec::<String>::new());
    assert_eq!(site.github.violations(), Vec::<String>::new());
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_of_another_family_is_not_cloned() {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    let right = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, right.replace("ubuntu-2204", "debian-12")).unwrap();
    let jobs = site.queue(1);
    let daemon = home.start(&["--config", &config], &[]);
    let reported = "it is of the template family \"ubuntu-2204\", not of \"debian-12\"";
    until("it says why", &site, &home, 0, || home.said().contains(reported)).await;
    let cloned = site.pve.requests().entries().into_iter().any(|entry| entry.path.ends_with("/clone"));
    assert!(!cloned && daemon.terminate(LIMIT).await, "{}", home.said());

    std::fs::write(&config, right).unwrap();
    let daemon = home.start(&["--config", &config], &[]);
    done(&site, &home, &jobs, 2).await;
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}

/// Kills the dispatcher again and again while five jobs are served, then lets it finish.
async fn killed(lose_ledger: bool) {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    let jobs = site.queue(5);
    for round in 0..6_u64 {
        let daemon = home.start(&["--config", &config], &[]);
        let until_killed = Instant::now() + Duration::from_millis(700 + 450 * round);
        until("time to be killed", &site, &home, 2, || Instant::now() >= until_killed).await;
        daemon.kill().await;
        if lose_ledger {
            home.lose_ledger();
        }
    }
    let daemon = home.start(&["--config", &config], &[]);
    let runners = done(&site, &home, &jobs, 2).await;
    assert_eq!(runners.iter().collect::<BTreeSet<_>>().len(), 5, "I1: {runners:?}");
    assert_eq!(site.pve.leftovers(), Vec::<String>::new());
    site.assert_foreign_guests_are_unharmed();
    assert!(daemon.terminate(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_with_its_ledger() {
    killed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_without_its_ledger() {
    killed(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_of_every_kind_leave_nothing_behind() {
    let site = SimulatedFarm::start().await;
    let calls = [
        ("POST", "/nodes/pve1/qemu/9000/clone"),
        ("PUT", "/nodes/pve1/qemu/*/config"),
        ("POST", "/nodes/pve1/qemu/*/status/start"),
        ("POST", "/nodes/pve1/qemu/*/agent/file-write"),
        ("DELETE", "/nodes/pve1/qemu/*"),
        ("GET", "/cluster/resources"),
    ];
    for (method, path) in calls {
        site.pve.inject(method, path, Fault::DropReply, 1);
    }
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    let jobs = site.queue(3);
    let daemon = home.start(&["--config", &config], &[]);
    done(&site, &home, &jobs, 2).await;
    assert_eq!(site.pve.fired().len(), calls.len(), "{:?}", site.pve.fired());
    assert_eq!(site.pve.leftovers(), Vec::<String>::new());
    assert!(daemon.terminate(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_vm_of_the_provider_is_cleared_away_and_one_that_never_ran_is_not() {
    let site = SimulatedFarm::start_with_lent_vms().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 2);
    let daemon = home.start(&["--config", &config], &[]);
    site.start_vm(LENT).await;
    site.pve.statistics_round();
    let lists = || site.requests_since(0).iter().filter(|request| *request == "GET /cluster/resources").count();
    let seen_so_far = lists();
    until("it is seen running", &site, &home, 2, || lists() > seen_so_far + 1).await;
    assert!(site.vms().contains(&LENT), "{}", home.said());
    site.guests.power_off(LENT);
    until("it is cleared away", &site, &home, 2, || !site.vms().contains(&LENT)).await;
    assert_eq!(site.vms(), [LENT_AND_NEVER_STARTED]);
    assert!(daemon.terminate(LIMIT).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_of_the_original_notes_are_a_configuration() {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let jobs = site.queue(2);
    let daemon = home.start(&[], &site.variables());
    let runners = done(&site, &home, &jobs, 1).await;
    assert!(runners.iter().all(|name| name.starts_with("pxci-acme-91")), "{runners:?}");
    assert!(daemon.terminate(LIMIT).await);
}

/// Runs jobs that are queued together. Returns the number of requests to Proxmox VE that they cost, in total and by
/// kind.
async fn cost(site: &SimulatedFarm, home: &Home, jobs: usize, max: usize) -> (usize, BTreeMap<String, usize>) {
    let before = site.pve.requests().count();
    let queued = site.queue(jobs);
    done(site, home, &queued, max).await;
    let mut kinds = BTreeMap::new();
    let requests = site.requests_since(before);
    requests.iter().for_each(|request| *kinds.entry(request.clone()).or_default() += 1);
    (requests.len(), kinds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_job_takes_25_requests_and_each_of_ten_together_about_17_at_the_pace_of_a_real_server() {
    let site = SimulatedFarm::start_at_real_pace().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 5);
    // The range leaves out the VMIDs of foreign guests, about which the dispatcher would ask too.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("9100-9107", "9100-9105")).unwrap();
    let daemon = home.start(&["--config", &config], &[]);
    // A dispatcher without a history asks once about each VMID and about the guests that exist.
    let calm = || site.requests_since(0).iter().filter(|request| *request == "GET /cluster/resources").count() >= 2;
    until("it knows what exists", &site, &home, 0, calm).await;
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
    let daemon = home.start(&["--config", &config], &[]);
    let (single, kinds) = cost(&site, &home, 1, 5).await;
    println!("a single job: {single} requests: {kinds:#?}");
    assert!(single <= 25, "{single} requests for one job: {kinds:#?}\n{}", home.said());
    // From these jobs the dispatcher learns the times of a server that makes several VMs at once.
    cost(&site, &home, 5, 5).await;
    let (ten, kinds) = cost(&site, &home, 10, 5).await;
    println!("ten jobs together: {ten} requests: {kinds:#?}");
    // This is 17 for each job, rounded.
    assert!(ten < 172, "{ten} requests for ten jobs: {kinds:#?}\n{}", home.said());
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}

/// Returns the last line of the log that sums up a VM's life.
fn last_life(home: &Home) -> String {
    let said = home.said();
    said.lines().rfind(|line| line.contains("gone: ")).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_over_before_github_shows_it_is_named_in_the_audit() {
    let site = SimulatedFarm::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 1);
    let daemon = home.start(&["--config", &config], &[]);
    let jobs = site.queue(1);
    done(&site, &home, &jobs, 1).await;
    let named = format!("reason=Some(Finished) job=Some({})", jobs[0]);
    until("the job is named", &site, &home, 1, || last_life(&home).contains(&named)).await;
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_a_power_cut_of_its_node_ends_is_not_audited_as_finished() {
    let site = SimulatedFarm::start_with_long_jobs().await;
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let config = site.write_configuration(directory.path(), 1);
    let daemon = home.start(&["--config", &config], &[]);
    site.queue(1);
    until("the job runs", &site, &home, 1, || home.said().contains("state=\"busy\"")).await;
    assert!(site.pve.node_away("pve1").await);
    assert!(site.pve.node_back("pve1"));
    until("it is cleared away", &site, &home, 1, || last_life(&home).contains("reason=Some(CutOff)")).await;
    assert!(site.vms().is_empty(), "{:?}", site.vms());
    assert!(daemon.terminate(LIMIT).await, "{}", home.said());
}
