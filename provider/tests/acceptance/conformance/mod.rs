//! Every type takes the sixteen steps (`tf_provider::testing::conformance`) with every core, against the simulators.

mod runner_vm;
mod snippet;
mod template;
mod world;

use std::collections::BTreeSet;

use acceptance::engines::cores;
use acceptance::harness::conformance::{self, Subject};
use acceptance::harness::{Failed, Harness};

use crate::lab::provider;
use runner_vm::RunnerVm;
use snippet::Snippet;
use template::Template;
use world::SOURCE;

/// `pxci_dispatcher_lxc` needs a dispatcher that really runs in a container: `tests/dispatcher_life.rs` has its life.
const ELSEWHERE: &str = "pxci_dispatcher_lxc";

async fn conforms<S: Subject>() -> Result<(), Failed> {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for core in cores().expect("a core") {
        conformance::run::<S>(&core).await?;
    }
    Ok(())
}

#[tokio::test]
async fn cloud_init_data_conforms() -> Result<(), Failed> {
    conforms::<Snippet>().await
}

#[tokio::test]
async fn a_runner_vm_conforms() -> Result<(), Failed> {
    conforms::<RunnerVm>().await
}

#[tokio::test]
async fn a_template_conforms() -> Result<(), Failed> {
    conforms::<Template>().await
}

#[tokio::test]
async fn no_type_is_forgotten() -> Result<(), Failed> {
    for core in cores().expect("a core") {
        let harness = Harness::program(&core, SOURCE, &provider())?;
        harness.configure("")?;
        let schemas = harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().expect("a provider");
        let types = providers.values().filter_map(|provider| provider["resource_schemas"].as_object());
        let types: BTreeSet<&str> = types.flat_map(|types| types.keys().map(String::as_str)).collect();
        assert_eq!(types, BTreeSet::from([Snippet::TYPE, RunnerVm::TYPE, Template::TYPE, ELSEWHERE]));
    }
    Ok(())
}
