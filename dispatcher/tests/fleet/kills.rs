//! The real program, killed as by `kill -9` at each boundary of its outside calls and of its commits, and started again.

use futures::StreamExt as _;
use pxci_dispatcher::failpoint::{Action, Boundary, Side};
use sim_pve::Fault;
use tokio::task::JoinError;

use crate::simulated_farm::{LENT, LENT_AND_NEVER_STARTED, SimulatedFarm};
use crate::victim::{GITHUBS_NEGATIVE, LONG, Victim};

/// Largest number of farms at a time.
const FARMS: usize = 20;
/// Number of jobs, and of VMs at a time.
const JOBS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn i1_to_i8_killed_at_each_boundary_and_started_again() {
    let boundaries: Vec<Boundary> =
        Action::all().iter().flat_map(|action| Side::BOTH.map(|side| Boundary { action: *action, side })).collect();
    let cases = boundaries.iter().map(|boundary| async { (*boundary, tokio::spawn(case(*boundary)).await) });
    let ended: Vec<_> = futures::stream::iter(cases).buffer_unordered(FARMS).collect().await;
    let failed: Vec<String> = ended.into_iter().filter_map(|(boundary, ended)| failure(boundary, ended)).collect();
    println!("killed at {} of {} boundaries", boundaries.len() - failed.len(), boundaries.len());
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

async fn case(boundary: Boundary) {
    let mut victim = victim(boundary.action).await;
    lead_to(boundary.action, &mut victim).await;
    victim.killed_at(boundary).await;
    victim.finish().await;
}

fn failure(boundary: Boundary, ended: Result<(), JoinError>) -> Option<String> {
    let panic = ended.err()?.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    Some(format!("{boundary}: {}", text.unwrap_or_else(|| "panicked".to_owned())))
}

async fn victim(action: Action) -> Victim {
    match action {
        Action::DestroyLent => {
            let site = SimulatedFarm::start_with_lent_vms().await;
            Victim::new(site, JOBS).keeping(vec![LENT_AND_NEVER_STARTED])
        }
        _ => Victim::new(SimulatedFarm::start().await, JOBS),
    }
}

/// Brings a farm into circumstances that lead to an action.
async fn lead_to(action: Action, victim: &mut Victim) {
    match action {
        Action::CloneAgain => victim.killed_at(after(Action::Clone)).await,
        Action::Examine => {
            victim.killed_at(after(Action::AwaitAgent)).await;
            victim.home.lose_ledger();
        }
        Action::Deregister => victim.killed_at(before(Action::Arm)).await,
        Action::Probe => {
            victim.killed_at(before(Action::Arm)).await;
            victim.run_until("GitHub's negative", |log| log.contains(GITHUBS_NEGATIVE)).await;
            victim.home.let_time_pass(LONG);
        }
        Action::AskAndStop => victim.killed_at(before(Action::Mint)).await,
        Action::Stop => {
            let refusal = Fault::Refuse { status: 500, text: "no such bridge".into() };
            victim.site.pve.inject("PUT", "/nodes/pve1/qemu/*/config", refusal, 1);
        }
        Action::KeepDiagnostics => {
            let refusal = Fault::Refuse { status: 500, text: "unable to write the file".into() };
            victim.site.pve.inject("POST", "/nodes/pve1/qemu/*/agent/file-write", refusal, 1);
        }
        Action::DestroyLent => lent_vm_ends(victim).await,
        Action::RemoveRegistration => {
            victim.killed_at(after(Action::Mint)).await;
            victim.run_until("the VM is gone", |log| log.contains(" gone: ")).await;
            victim.home.let_time_pass(LONG);
        }
        Action::Clone
        | Action::Configure
        | Action::Start
        | Action::AwaitAgent
        | Action::Mint
        | Action::Arm
        | Action::Watch
        | Action::Destroy
        | Action::CommitCloning
        | Action::CommitMinting
        | Action::CommitArming
        | Action::CommitDestroying
        | Action::CommitGone => {}
    }
}

/// Lets a VM of the provider run until the dispatcher has seen it, and end.
async fn lent_vm_ends(victim: &Victim) {
    victim.site.start_vm(LENT).await;
    victim.site.pve.statistics_round();
    let lists = || victim.site.requests_since(0).iter().filter(|request| *request == "GET /cluster/resources").count();
    let seen = lists();
    victim.run_until("the lent VM is seen running", |_| lists() > seen + 1).await;
    victim.site.guests.power_off(LENT);
    victim.site.pve.statistics_round();
}

fn before(action: Action) -> Boundary {
    Boundary { action, side: Side::Before }
}

fn after(action: Action) -> Boundary {
    Boundary { action, side: Side::After }
}
