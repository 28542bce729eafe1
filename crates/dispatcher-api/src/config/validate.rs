//! The rules of a configuration that types cannot express, each with the path of the field.

use super::{Config, ConfigProblem, PveConfig, RunnerPool};

const LONGEST_LABEL: usize = 256;
const LONGEST_INTERVAL: u32 = 3600;

pub(super) fn problems(config: &Config) -> Vec<ConfigProblem> {
    let mut found = Findings::default();
    check_pve(&config.pve, &mut found);
    if !is_url(&config.github.api_url, &["https://", "http://"]) {
        found.add("github.api_url", format!("\"{}\" is not an http(s) URL", config.github.api_url));
    }
    if !(1..=LONGEST_INTERVAL).contains(&config.poll_interval_seconds) {
        found.add("poll_interval_seconds", format!("must be 1 to {LONGEST_INTERVAL}"));
    }
    for (index, pool) in config.pools.iter().enumerate() {
        check_pool(pool, &format!("pools[{index}]"), &mut found);
        check_against_earlier(pool, &config.pools[..index], &format!("pools[{index}]"), &mut found);
    }
    found.0
}

#[derive(Default)]
struct Findings(Vec<ConfigProblem>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigProblem { path: path.into(), message: message.into() });
    }

    fn require(&mut self, fine: bool, path: String, message: impl Into<String>) {
        if !fine {
            self.add(path, message);
        }
    }
}

fn check_pve(pve: &PveConfig, found: &mut Findings) {
    found.require(!pve.endpoints.is_empty(), "pve.endpoints".into(), "at least one endpoint is needed");
    for (index, endpoint) in pve.endpoints.iter().enumerate() {
        let message = format!("\"{endpoint}\" is not an https:// URL; write https://host:8006");
        found.require(is_url(endpoint, &["https://"]), format!("pve.endpoints[{index}]"), message);
    }
    if !is_token_id(&pve.token_id) {
        found.add("pve.token_id", format!("\"{}\" is not a token name; write user@realm!name", pve.token_id));
    }
    if pve.ca_pem.is_some() && pve.fingerprint.is_some() {
        found.add("pve.fingerprint", "give either a CA or a fingerprint, not both");
    }
    if pve.ca_pem.as_deref().is_some_and(|pem| !pem.contains("-----BEGIN CERTIFICATE-----")) {
        found.add("pve.ca_pem", "holds no PEM certificate");
    }
    if pve.fingerprint.as_deref().is_some_and(|text| !is_sha256(text)) {
        found.add("pve.fingerprint", "is not a SHA-256 fingerprint: 32 pairs of hexadecimal digits are expected");
    }
}

fn check_pool(pool: &RunnerPool, path: &str, found: &mut Findings) {
    found.require(!pool.labels.is_empty(), format!("{path}.labels"), "at least one label is needed");
    for (index, label) in pool.labels.iter().enumerate() {
        let message = format!(
            "\"{label}\" is not a label: 1 to {LONGEST_LABEL} characters without commas or blanks are expected"
        );
        found.require(is_label(label), format!("{path}.labels[{index}]"), message);
    }
    found.require(!pool.repositories.is_empty(), format!("{path}.repositories"), "at least one repository is needed");
    check_capacity(pool, path, found);
    check_machine(pool, path, found);
}

fn check_capacity(pool: &RunnerPool, path: &str, found: &mut Findings) {
    let places = pool.vmid_range.size();
    found.require(pool.max >= 1, format!("{path}.max"), "must be at least 1");
    let message = format!("{} virtual machines do not fit into the {places} VMIDs of {}", pool.max, pool.vmid_range);
    found.require(pool.max <= places, format!("{path}.max"), message);
    let message = format!("VMID {} is in the pool's own range {}", pool.template.vmid, pool.vmid_range);
    found.require(!pool.vmid_range.contains(pool.template.vmid), format!("{path}.template.vmid"), message);
    for (field, seconds) in [
        ("boot_limit_seconds", pool.boot_limit_seconds),
        ("idle_limit_seconds", pool.idle_limit_seconds),
        ("job_limit_seconds", pool.job_limit_seconds),
    ] {
        found.require(seconds >= 1, format!("{path}.{field}"), "must be at least 1");
    }
}

fn check_machine(pool: &RunnerPool, path: &str, found: &mut Findings) {
    for (field, text) in [("resource_pool", &pool.resource_pool), ("template.family", &pool.template.family)] {
        found.require(!text.trim().is_empty(), format!("{path}.{field}"), "must not be empty");
    }
    if pool.seed_iso.as_deref().is_some_and(|volume| !is_iso_volume(volume)) {
        found.add(format!("{path}.seed_iso"), "is not a volume id of an ISO; write storage:iso/name.iso");
    }
    found.require(pool.cores != Some(0), format!("{path}.cores"), "must be at least 1");
    found.require(
        pool.memory_mib.is_none_or(|memory| memory >= 16),
        format!("{path}.memory_mib"),
        "must be at least 16",
    );
}

fn check_against_earlier(pool: &RunnerPool, earlier: &[RunnerPool], path: &str, found: &mut Findings) {
    for other in earlier {
        if other.name == pool.name {
            found.add(format!("{path}.name"), format!("\"{}\" stands twice", pool.name));
        }
        if other.vmid_range.overlaps(pool.vmid_range) {
            let message = format!("{} overlaps {} of pool \"{}\"", pool.vmid_range, other.vmid_range, other.name);
            found.add(format!("{path}.vmid_range"), message);
        }
    }
}

fn is_url(text: &str, schemes: &[&str]) -> bool {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace))
}

fn is_token_id(text: &str) -> bool {
    let Some((user, name)) = text.split_once('!') else { return false };
    let Some((account, realm)) = user.rsplit_once('@') else { return false };
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|byte: char| byte.is_whitespace() || byte == '=' || byte == '!')
    };
    plain(account) && plain(realm) && plain(name)
}

fn is_sha256(text: &str) -> bool {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_label(text: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&text.len())
        && !text.contains(|character: char| character == ',' || character.is_whitespace() || character.is_control())
}

fn is_iso_volume(text: &str) -> bool {
    let Some((storage, path)) = text.split_once(':') else { return false };
    let file = path.strip_prefix("iso/").unwrap_or_default();
    !storage.is_empty() && file.len() > 4 && !file.contains('/') && file.ends_with(".iso")
}
