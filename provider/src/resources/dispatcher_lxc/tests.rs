use std::collections::BTreeMap;

use dispatcher_api::{ConfigProblem, Phase, Problem, Status, Subject};
use jiff::Timestamp;
use secrecy::SecretString;
use tf_provider::{Attr, Diagnostics, Model as _, Resource as _, Secret};

use super::model::{Dispatcher, GithubAccess, KnownDispatcher, Network, Pool, PveAccess};
use super::validation::{attribute_of, valid};
use super::{Dispatchers, must_be_configured, unsettled};
use crate::connection::{Connection, Settings};

fn connection() -> Connection {
    Connection::check(Settings {
        endpoints: vec!["https://pve1.lan:8006/api2/json".to_owned()],
        token_id: Some("ci@pve!farm".to_owned()),
        token_secret: Some(SecretString::from("6f4d0a5e-1c8e-4d3b-9b1e-1f2a3b4c5d6e")),
        ca_pem: None,
        fingerprint: Some("AB".repeat(32)),
        verify: true,
    })
    .unwrap()
}

fn pool() -> Pool {
    Pool {
        labels: vec!["linux".to_owned()].into(),
        repositories: vec!["octo/demo".to_owned()].into(),
        max: 2.into(),
        vmid_range: "9100-9199".into(),
        family: "ubuntu-2204".into(),
        template_vmid: 9000.into(),
        boot_limit: 300.into(),
        idle_limit: 600.into(),
        job_limit: 3600.into(),
        ..Pool::default()
    }
}

fn dispatcher() -> Dispatcher {
    Dispatcher {
        node: "pve1".into(),
        vmid_range: "8100-8109".into(),
        resource_pool: "ci".into(),
        storage: "store".into(),
        template_storage: "local".into(),
        network: Network { bridge: "vmbr0".into(), ..Network::default() }.into(),
        github_token_wo: Attr::Known(Secret::new("ghp_hunter2")),
        poll_interval: 15.into(),
        pools: BTreeMap::from([("ubuntu".to_owned(), pool())]).into(),
        ..Dispatcher::default()
    }
}

fn config(model: &Dispatcher) -> Option<dispatcher_api::Config> {
    let known = model.known()?;
    Some(known.config(&"pve1".parse().unwrap(), &"lab".parse().unwrap(), &connection()).unwrap())
}

fn problem_paths(model: &Dispatcher) -> Vec<String> {
    let mut diagnostics = Diagnostics::new();
    Dispatchers.validate(model, &mut diagnostics);
    diagnostics.iter().map(|diagnostic| diagnostic.path.to_string()).collect()
}

#[test]
fn defaults_come_from_the_provider_and_the_container() {
    let config = config(&dispatcher()).unwrap();
    assert_eq!(config.pve.endpoints, ["https://pve1.lan:8006"]);
    assert_eq!(config.pve.token_id, "ci@pve!farm");
    assert!(config.pve.fingerprint.as_deref().is_some_and(|text| text.starts_with("AB:AB:")));
    assert_eq!(config.github.api_url, "https://api.github.com");
    assert_eq!((config.pools[0].template.node.as_str(), config.pools[0].resource_pool.as_str()), ("pve1", "ci"));
    assert!(valid(config).is_ok());
}

#[test]
fn arguments_take_precedence_over_the_provider() {
    let mut model = dispatcher();
    model.pve = PveAccess {
        token_id: "bot@pve!d".into(),
        ca_certificate: "-----BEGIN CERTIFICATE-----".into(),
        ..PveAccess::default()
    }
    .into();
    model.github = GithubAccess {
        api_url: "https://git.example/api/v3".into(),
        ca_certificate: "-----BEGIN CERTIFICATE-----".into(),
    }
    .into();
    let config = config(&model).unwrap();
    assert_eq!((config.pve.token_id.as_str(), config.pve.fingerprint), ("bot@pve!d", None));
    assert!(config.pve.ca_pem.is_some());
    assert_eq!(config.github.api_url, "https://git.example/api/v3");
    assert!(config.github.ca_pem.is_some());
}

#[test]
fn the_hash_is_unknown_while_a_part_is_unknown() {
    let mut model = dispatcher();
    model.pools = BTreeMap::from([("ubuntu".to_owned(), Pool { template_vmid: Attr::Unknown, ..pool() })]).into();
    assert!(config(&model).is_none());
    assert!(config(&Dispatcher { github: Attr::Unknown, ..dispatcher() }).is_none());
}

#[test]
fn contradictions_are_reported_at_their_attribute() {
    assert_eq!(problem_paths(&dispatcher()), Vec::<String>::new());
    assert_eq!(problem_paths(&Dispatcher { vmid_range: Attr::Null, ..dispatcher() }), ["vmid_range"]);
    assert_eq!(problem_paths(&Dispatcher { vmid: 8100.into(), ..dispatcher() }), ["vmid_range"]);
    let own = PveAccess { token_id: "bot@pve!d".into(), ..PveAccess::default() };
    assert_eq!(problem_paths(&Dispatcher { pve: own.into(), ..dispatcher() }), ["pve_token_secret_wo"]);
    assert_eq!(problem_paths(&Dispatcher { vmid_range: "9150-9160".into(), ..dispatcher() }), ["pools"]);
}

#[test]
fn an_ipv6_gateway_needs_a_fixed_ipv6_address() {
    let with = |ip6: Attr<String>| {
        let network = Network { bridge: "vmbr0".into(), ip6, gateway6: "fe80::1".into(), ..Network::default() };
        problem_paths(&Dispatcher { network: network.into(), ..dispatcher() })
    };
    assert_eq!(with("2001:db8::5/64".into()), Vec::<String>::new());
    assert_eq!(with(Attr::Unknown), Vec::<String>::new());
    assert_eq!(with("auto".into()), ["network"]);
    assert_eq!(with(Attr::Null), ["network"]);
}

#[test]
fn problems_of_the_configuration_are_reported_at_their_attributes() {
    let config = config(&dispatcher()).unwrap();
    let path =
        |path: &str| attribute_of(&config, &ConfigProblem { path: path.into(), message: String::new() }).to_string();
    assert_eq!(path("pools[0].labels[1]"), "pools[\"ubuntu\"].labels");
    assert_eq!(path("pools[0].template.vmid"), "pools[\"ubuntu\"].template_vmid");
    assert_eq!(path("pools[0].template.family"), "pools[\"ubuntu\"].family");
    assert_eq!(path("pools[0].job_limit_seconds"), "pools[\"ubuntu\"].job_limit");
    assert_eq!(path("pools[0].quarantine.keep_for_seconds"), "pools[\"ubuntu\"].quarantine");
    assert_eq!(path("poll_interval_seconds"), "poll_interval");
    assert_eq!(path("pve.endpoints[0]"), "pve");
}

#[test]
fn an_invalid_label_is_refused_at_plan_time() {
    let mut model = dispatcher();
    model.pools =
        BTreeMap::from([("ubuntu".to_owned(), Pool { labels: vec!["a b".to_owned()].into(), ..pool() })]).into();
    let refused = valid(config(&model).unwrap()).unwrap_err();
    assert_eq!(refused.iter().next().unwrap().path.to_string(), "pools[\"ubuntu\"].labels");
}

#[test]
fn a_dispatcher_that_drains_or_never_worked_is_configured_again() {
    let status = |phase, hindered: bool| {
        let problem = Problem { subject: Subject::Github, message: "401".into(), since: Timestamp::UNIX_EPOCH };
        Status { phase, problems: if hindered { vec![problem] } else { Vec::new() }, ..Status::default() }
    };
    assert!(must_be_configured(&status(Phase::Draining, false)) && must_be_configured(&status(Phase::Starting, true)));
    assert!(!must_be_configured(&status(Phase::Running, true)), "an outage of GitHub does not change the plan");
    assert!(!must_be_configured(&status(Phase::Starting, false)));
}

#[test]
fn after_a_failed_change_secrets_count_as_not_sent() {
    let version = |version: i64| KnownDispatcher {
        github_token_wo_version: Some(version),
        config_hash: "aa".into(),
        ..dispatcher().known().unwrap()
    };
    let left = unsettled(version(2), version(1));
    assert_eq!((left.github_token_wo_version, left.config_hash), (Some(1), Attr::Null));
}
