use super::*;
use ownership::Vmid;

pub(crate) fn pool(name: &str, range: &str) -> RunnerPool {
    RunnerPool {
        name: name.parse().unwrap(),
        labels: vec!["self-hosted".into(), "linux".into()],
        repositories: vec!["octo/demo".parse().unwrap()],
        runner_group_id: 1,
        max: 2,
        vmid_range: range.parse().unwrap(),
        resource_pool: "ci".into(),
        template: TemplateSource {
            family: "ubuntu-2204".into(),
            vmid: Vmid::new(9000).unwrap(),
            node: "pve1".parse().unwrap(),
            by_name: false,
        },
        seed_iso: Some("local:iso/pxci-lab_x_k3x9ab_0123456789abcdef.iso".into()),
        cores: Some(2),
        memory_mib: Some(2048),
        bridge: None,
        boot_limit_seconds: 300,
        idle_limit_seconds: 600,
        job_limit_seconds: 3600,
    }
}

pub(crate) fn config() -> Config {
    Config {
        installation: "lab".parse().unwrap(),
        pve: PveConfig {
            endpoints: vec!["https://127.0.0.1:8006".into()],
            ca_pem: None,
            fingerprint: None,
            token_id: "ci@pve!dispatcher".into(),
        },
        github: GithubConfig::default(),
        poll_interval_seconds: 15,
        pools: vec![pool("ubuntu", "9100-9199"), pool("debian", "9200-9299")],
    }
}

fn paths(config: &Config) -> Vec<String> {
    match config.validate() {
        Err(ConfigError::Invalid(problems)) => problems.into_iter().map(|problem| problem.path).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn a_sound_configuration_survives_json() {
    let text = serde_json::to_string(&config()).unwrap();
    assert_eq!(Config::from_json(&text).unwrap(), config());
}

#[test]
fn omitted_fields_have_defaults() {
    let text = r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"},"pools":[{"name":"p",
        "labels":["x"],"repositories":["o/r"],"max":1,"vmid_range":"9100-9199","resource_pool":"ci",
        "template":{"family":"f","vmid":9000,"node":"pve1"}}]}"#;
    let config = Config::from_json(text).unwrap();
    assert_eq!(config.github.api_url, "https://api.github.com");
    assert_eq!(
        (config.poll_interval_seconds, config.pools[0].job_limit_seconds, config.pools[0].runner_group_id),
        (15, 21600, 1)
    );
}

#[test]
fn an_unknown_field_is_refused_with_its_name() {
    let text = serde_json::to_string(&config()).unwrap().replacen("\"max\"", "\"maximum\":1,\"max\"", 1);
    let error = Config::from_json(&text).unwrap_err();
    let ConfigError::Syntax(source) = error else { panic!("{error}") };
    assert!(source.to_string().contains("maximum"), "{source}");
}

#[test]
fn every_problem_is_reported_with_its_path() {
    let mut bad = config();
    bad.pve.endpoints = vec!["http://h:8006".into()];
    bad.pve.token_id = "root".into();
    bad.pve.ca_pem = Some("nonsense".into());
    bad.pve.fingerprint = Some("AA:BB".into());
    bad.poll_interval_seconds = 0;
    bad.pools[0].labels = vec!["a b".into()];
    bad.pools[1].max = 1000;
    bad.pools[1].seed_iso = Some("local:snippets/x.yaml".into());
    let expected = [
        "pve.endpoints[0]",
        "pve.token_id",
        "pve.fingerprint",
        "pve.ca_pem",
        "pve.fingerprint",
        "poll_interval_seconds",
        "pools[0].labels[0]",
        "pools[1].max",
        "pools[1].seed_iso",
    ];
    assert_eq!(paths(&bad), expected);
}

#[test]
fn pools_with_a_common_name_or_range_or_with_their_own_template_are_refused() {
    let mut bad = config();
    bad.pools[1] = pool("ubuntu", "9150-9160");
    assert_eq!(paths(&bad), ["pools[1].name", "pools[1].vmid_range"]);
    let mut bad = config();
    bad.pools[0].template.vmid = Vmid::new(9150).unwrap();
    assert_eq!(paths(&bad), ["pools[0].template.vmid"]);
}

#[test]
fn the_hash_depends_on_the_content_and_not_on_the_order_of_pools() {
    let mut swapped = config();
    swapped.pools.swap(0, 1);
    assert_eq!(swapped.hash(), config().hash());
    swapped.pools[0].max += 1;
    assert_ne!(swapped.hash(), config().hash());
}

/// The dispatcher keeps its configuration as this text, and both sides compute its hash from it.
#[test]
fn the_written_form_of_a_configuration_does_not_change() {
    let mut config = config();
    config.pools.truncate(1);
    let expected = concat!(
        r#"{"installation":"lab","pve":{"endpoints":["https://127.0.0.1:8006"],"token_id":"ci@pve!dispatcher"},"#,
        r#""github":{"api_url":"https://api.github.com"},"poll_interval_seconds":15,"pools":[{"name":"ubuntu","#,
        r#""labels":["self-hosted","linux"],"repositories":["octo/demo"],"runner_group_id":1,"max":2,"#,
        r#""vmid_range":"9100-9199","resource_pool":"ci","#,
        r#""template":{"family":"ubuntu-2204","vmid":9000,"node":"pve1"},"#,
        r#""seed_iso":"local:iso/pxci-lab_x_k3x9ab_0123456789abcdef.iso","cores":2,"memory_mib":2048,"#,
        r#""boot_limit_seconds":300,"idle_limit_seconds":600,"job_limit_seconds":3600}]}"#,
    );
    assert_eq!(serde_json::to_string(&config).unwrap(), expected);
}

#[test]
fn a_repository_or_node_that_cannot_exist_is_refused_with_its_text() {
    let sound = serde_json::to_string(&config()).unwrap();
    for (good, bad) in [("octo/demo", "octo"), ("pve1", "pve 1"), ("9000", "99")] {
        let error = Config::from_json(&sound.replacen(good, bad, 1)).unwrap_err();
        let ConfigError::Syntax(source) = error else { panic!("{error}") };
        assert!(source.to_string().contains(bad), "{source}");
    }
}
