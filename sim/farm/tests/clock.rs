//! The clock of both simulators of a farm.
#![cfg(test)]

use std::time::Duration;

use farm::simulation::{Farm, Guests, Simulation};
use jiff::Timestamp;
use sim_pve::Latency;

/// Returns instants of both simulators, GitHub's between two of Proxmox VE's.
async fn instants(latency: Latency, passed: Duration) -> [Timestamp; 3] {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let simulation = Simulation { latency: Some(latency), installer: false, ..Simulation::of(Guests::Scripted) };
    let farm = Farm::simulated_as(simulation).await.unwrap();
    let (pve, github) = (farm.simulated_pve.unwrap().handle, farm.simulated_github.unwrap());
    pve.pass(passed).await;
    let clock = pve.instants();
    [clock(), github.world(|_, now| now), clock()]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_simulators_show_this_machine_s_time() {
    let before = Timestamp::now();
    let [first, github, last] = instants(Latency::Real, Duration::ZERO).await;
    assert!(before <= first && first <= github && github <= last, "{before} {first} {github} {last}");
    assert!(last <= Timestamp::now());
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_is_stepped_passes_for_both() {
    let before = Timestamp::now();
    let week = Duration::from_secs(7 * 24 * 3600);
    let [first, github, _] = instants(Latency::Stepped, week).await;
    assert!(before + week <= first && first <= Timestamp::now() + week, "{before} {first}");
    assert_eq!(first, github);
}
