//! Conformance of every type: the sixteen steps of `tf_provider_testing::conformance`, with every core, against the
//! simulators. The steps whose requests and refusals can differ also run on the older line of Proxmox VE.

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

use crate::working_directory::{install_tls, provider};
use dispatcher::Dispatcher;
use runner_vm::RunnerVm;
use snippet::Snippet;
use template::Template;
use world::{LINE, Simulators};

/// Steps whose requests and refusals can differ between lines of Proxmox VE.
const LINE_STEPS: [ConformanceStep; 5] = [
    ConformanceStep::SecondPlan,
    ConformanceStep::Import,
    ConformanceStep::Drift,
    ConformanceStep::FailingCalls,
    ConformanceStep::FailingDestroy,
];

async fn conforms<S: Subject>() -> Result<(), Failed> {
    install_tls();
    for core in cores().expect("a core") {
        conformance::run::<S>(&core).await?;
    }
    Ok(())
}

async fn conforms_on_line_8<S: Subject>() -> Result<(), Failed> {
    install_tls();
    let core = cores().expect("a core").remove(0);
    LINE.scope(Line::Eight, conformance::run_steps::<S>(&core, &LINE_STEPS)).await
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
async fn every_type_has_conformance_tests() -> Result<(), Failed> {
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
