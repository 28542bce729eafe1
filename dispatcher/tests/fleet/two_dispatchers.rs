//! Two dispatchers of one installation, both the real program.

use std::collections::BTreeSet;

use dispatcher_api::{Phase, Status};

use crate::daemon::Home;
use crate::simulated_farm::SimulatedFarm;
use crate::{LIMIT, until};

/// Room for the VMs that both make for the same job.
const MAX: usize = 5;
const STANDS_BACK: &str = "makes and registers no VMs";

#[tokio::test(flavor = "multi_thread")]
async fn i5_of_two_dispatchers_the_later_one_stands_back_and_says_so_and_every_job_goes_on() {
    let site = SimulatedFarm::start_with_long_jobs().await;
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = directories.each_ref().map(|directory| Home::new(directory.path()));
    let config = site.write_configuration(directories[0].path(), u32::try_from(MAX).unwrap());
    let config = ["--config", config.as_str()];
    // Its next start is a later run than the first one of the other.
    let daemon = second.start(&config, &[]);
    until("it has started", &site, &second, 0, || second.said().contains("in force")).await;
    assert!(daemon.terminate(LIMIT).await, "{}", second.said());

    let daemon_of_first = first.start(&config, &[]);
    let mut jobs = site.queue(1);
    until("a job runs", &site, &first, 1, || site.are_running(&jobs)).await;
    let daemon_of_second = second.start(&config, &[]);
    until("it listens", &site, &second, 1, || second.said().matches("in force").count() > 1).await;
    in_phase(&second, Phase::Running).await;
    jobs.extend(site.queue(1));
    until("it stands back", &site, &second, MAX, || second.said().contains(STANDS_BACK)).await;
    let problems = second.status().await.problems;
    assert!(problems.iter().any(|problem| problem.message.contains(STANDS_BACK)), "{problems:?}");
    let reserved = second.said().matches("reserved").count();
    jobs.extend(site.queue(1));
    until("all jobs run", &site, &first, MAX, || site.are_running(&jobs)).await;
    assert_eq!(second.said().matches("reserved").count(), reserved, "it makes no more VMs\n{}", second.said());

    site.guests.end_jobs();
    until("all jobs are over", &site, &first, MAX, || site.are_over(&jobs)).await;
    for home in [&first, &second] {
        home.drain().await;
        in_phase(home, Phase::Drained).await;
    }
    let runners = site.runners_of(&jobs, LIMIT).await.unwrap_or_else(|| panic!("a job failed\n{}", second.said()));
    let distinct: BTreeSet<&String> = runners.iter().collect();
    assert_eq!((distinct.len(), site.starts_of(&jobs)), (3, 3), "I1: {runners:?}");
    until("nothing is left", &site, &first, MAX, || site.is_clean()).await;
    assert_eq!(site.pve.leftovers(), Vec::<String>::new());
    site.assert_foreign_guests_are_unharmed();
    assert!(daemon_of_first.terminate(LIMIT).await && daemon_of_second.terminate(LIMIT).await);
}

/// Waits until a dispatcher is in a phase.
async fn in_phase(home: &Home, wanted: Phase) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let Status { phase, machines, .. } = home.status().await;
        if phase == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{phase:?}, {machines:?}\n{}", home.said());
        tokio::time::sleep(crate::LOOK).await;
    }
}
