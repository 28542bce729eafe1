//! Every type takes the sixteen steps (`tf_provider_testing::conformance`) with every core, against the simulators; and the
//! way from the first plan to the last destruction on the older line of Proxmox VE too.

mod dispatcher;
mod runner_vm;
mod snippet;
mod template;
mod world;

use std::collections::BTreeSet;

use farm::engines::cores;
use farm::harness::conformance::{self, ConformanceStep, Subject, World as _};
use farm::harness::{Failed, Harness};
use sim_pve::Line;

use crate::lab::provider;
use dispatcher::Dispatcher;
use runner_vm::RunnerVm;
use snippet::Snippet;
use template::Template;
use world::{LINE, Simulators};

/// Steps in which a line of Proxmox VE can differ from another: what is asked of it, and how it refuses.
const WAY_THROUGH: [ConformanceStep; 5] = [
    ConformanceStep::SecondPlan,
    ConformanceStep::Import,
    ConformanceStep::Drift,
    ConformanceStep::FailingCalls,
    ConformanceStep::FailingDestroy,
];

async fn conforms<S: Subject>() -> Result<(), Failed> {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for core in cores().expect("a core") {
        conformance::run::<S>(&core).await?;
    }
    Ok(())
}

async fn conforms_on_line_8<S: Subject>() -> Result<(), Failed> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let core = cores().expect("a core").remove(0);
    LINE.scope(Line::Eight, conformance::run_steps::<S>(&core, &WAY_THROUGH)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_init_data_conforms() -> Result<(), Failed> {
    conforms::<Snippet>().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_vm_conforms() -> Result<(), Failed> {
    conforms::<RunnerVm>().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_conforms() -> Result<(), Failed> {
    conforms::<Template>().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_conforms() -> Result<(), Failed> {
    conforms::<Dispatcher>().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_conforms_on_the_older_line() -> Result<(), Failed> {
    conforms_on_line_8::<Snippet>().await?;
    conforms_on_line_8::<RunnerVm>().await?;
    conforms_on_line_8::<Template>().await?;
    conforms_on_line_8::<Dispatcher>().await
}

#[tokio::test]
async fn no_type_is_forgotten() -> Result<(), Failed> {
    for core in cores().expect("a core") {
        let harness = Harness::program(&core, Simulators::SOURCE, &provider())?;
        harness.configure("")?;
        let schemas = harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().expect("a provider");
        let types = providers.values().filter_map(|provider| provider["resource_schemas"].as_object());
        let types: BTreeSet<&str> = types.flat_map(|types| types.keys().map(String::as_str)).collect();
        assert_eq!(types, BTreeSet::from([Snippet::TYPE, RunnerVm::TYPE, Template::TYPE, Dispatcher::TYPE]));
    }
    Ok(())
}
