//! The real program with a ledger that was restored from an older copy while a job runs.

use futures::future::join_all;
use jiff::SignedDuration;
use pxci_dispatcher::failpoint::{Action, Boundary, Side};
use tokio::time::{Instant, sleep};

use crate::simulated_farm::SimulatedFarm;
use crate::victim::{LONG, Victim};
use crate::{LIMIT, LOOK};

/// Moment at which the copy is made.
#[derive(Debug, Clone, Copy)]
enum Copied {
    /// At a kill.
    At(Action),
    /// After a clean end in this state.
    In(&'static str),
}

/// Moments before the registration of the VM with the job. The copy of the last one does not know that VM.
const COPIED: [Copied; 3] =
    [Copied::At(Action::CommitCloning), Copied::In("booting"), Copied::At(Action::CommitMinting)];
/// Times for which the dispatcher then does not run: less than the boot limit of its pool, and more.
const DOWN: [SignedDuration; 2] = [SignedDuration::ZERO, SignedDuration::from_mins(10)];

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_job_goes_on_if_its_ledger_is_restored_from_an_older_copy() {
    let cases = COPIED.into_iter().flat_map(|copied| DOWN.map(|down| tokio::spawn(case(copied, down))));
    for ended in join_all(cases).await {
        ended.unwrap();
    }
}

async fn case(copied: Copied, down: SignedDuration) {
    let mut victim = Victim::new(SimulatedFarm::start_with_long_jobs().await, 1);
    match copied {
        Copied::At(action) => victim.killed_at(Boundary { action, side: Side::After }).await,
        Copied::In(state) => {
            let entered = format!("state=\"{state}\"");
            victim.run_until(state, |log| log.contains(&entered)).await;
        }
    }
    let copy = tempfile::tempdir().unwrap();
    victim.home.save_ledger(copy.path());
    victim.run_until("a job runs", |log| log.contains("state=\"busy\"")).await;
    victim.home.restore_ledger(copy.path());
    victim.home.let_time_pass(down);
    while !finds_job(&victim, copied, down).await {
        victim.home.let_time_pass(LONG);
    }
    victim.site.guests.end_jobs();
    victim.finish().await;
}

/// Runs the dispatcher until it knows of the job, or waits for one in a VM that it takes for a warm one. Returns true if it knows
/// of the job.
async fn finds_job(victim: &Victim, copied: Copied, down: SignedDuration) -> bool {
    let (deadline, logged) = (Instant::now() + LIMIT, victim.home.said().len());
    let daemon = victim.run(&[]);
    loop {
        let said = victim.home.said();
        assert_eq!(victim.site.guests.running().len(), 1, "I5: {copied:?}, {down:?}: the VM was ended\n{said}");
        assert!(Instant::now() < deadline, "{copied:?}, {down:?}: the job is not found\n{said}");
        let is_busy = said[logged..].contains("state=\"busy\"");
        if is_busy || said[logged..].contains("state=\"warm\"") {
            assert!(daemon.terminate(LIMIT).await, "{}", victim.home.said());
            return is_busy;
        }
        sleep(LOOK).await;
    }
}
