//! Checks of the resource that concern several attributes, and of the dispatcher's configuration that follows from
//! them.

use dispatcher_api::{Config, ConfigError, ConfigProblem};
use tf_provider::{Diagnostic, Diagnostics, Path};

use super::model::Dispatcher;
use super::runners;
use crate::diagnostics;

/// Finds contradictions between attributes.
pub(super) fn contradictions(config: &Dispatcher) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut add = |at: &str, detail: String| found.push(diagnostics::invalid(at, "Invalid dispatcher", detail));
    match (config.vmid.is_null(), config.vmid_range.is_null()) {
        (true, true) => add("vmid_range", "Set `vmid_range`, as in \"8100-8109\", or `vmid`.".to_owned()),
        (false, false) => add("vmid_range", "Set either `vmid_range` or `vmid`.".to_owned()),
        _ => {}
    }
    let own_token = config.pve.known().is_some_and(|pve| pve.token_id.known().is_some());
    if own_token && config.pve_token_secret_wo.is_null() {
        add(
            "pve_token_secret_wo",
            "`pve.token_id` is another token than the provider's, so its secret must be set.".to_owned(),
        );
    }
    if let Some(pool) = runners::overlapping_pool(config) {
        add(
            "pools",
            format!("The VMIDs of pool \"{pool}\" overlap those of the container. Choose ranges that do not overlap."),
        );
    }
    if let Some(network) = config.network.known() {
        if network.gateway.known().is_some() && network.ip.text() == Some("dhcp") {
            add(
                "network",
                "`gateway` needs a fixed address in `ip`. With DHCP, the gateway comes from the DHCP server."
                    .to_owned(),
            );
        }
        let needs_no_gateway = network.ip6.is_null() || network.ip6.text() == Some("auto");
        if network.gateway6.known().is_some() && needs_no_gateway {
            add(
                "network",
                "`gateway6` needs a fixed IPv6 address in `ip6`. With \"auto\", the gateway comes from router advertisements."
                    .to_owned(),
            );
        }
    }
    found
}

/// Validates the configuration. The error has a diagnostic for each problem, at the attribute that it comes from.
pub(super) fn valid(config: Config) -> Result<Config, Diagnostics> {
    let Err(error) = config.validate() else { return Ok(config) };
    let ConfigError::Invalid(problems) = error else {
        return Err(diagnostics::unable("use", "the dispatcher's configuration", "", &error).into());
    };
    let mut found = Diagnostics::new();
    for problem in problems {
        let path = attribute_of(&config, &problem);
        found.push(diagnostics::invalid(path, "Invalid dispatcher", format!("{}.", problem.message)));
    }
    Err(found)
}

/// Returns the attribute of a problem. For example, `pools[0].template.vmid` of the configuration is
/// `pools["name"].template_vmid` of the resource.
pub(super) fn attribute_of(config: &Config, problem: &ConfigProblem) -> Path {
    let (head, field) = problem.path.split_once('.').unwrap_or((&problem.path, ""));
    let index = head
        .strip_prefix("pools[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|index| index.parse::<usize>().ok());
    let field = field.split('[').next().unwrap_or_default();
    match (head, index.and_then(|index| config.pools.get(index))) {
        (_, Some(pool)) => {
            let name = match field {
                "memory_mib" => "memory".to_owned(),
                quarantine if quarantine.starts_with("quarantine.") => "quarantine".to_owned(),
                "name" => return Path::attribute("pools").key(pool.name.as_str()),
                other => other
                    .trim_end_matches("_seconds")
                    .replace("template.", "template_")
                    .replace("template_family", "family"),
            };
            Path::attribute("pools").key(pool.name.as_str()).then(&name)
        }
        ("poll_interval_seconds", None) => Path::attribute("poll_interval"),
        // The values may come from the provider block, so the nested attribute may not be set.
        (other, None) => Path::attribute(other),
    }
}
