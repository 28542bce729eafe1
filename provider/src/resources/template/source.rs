//! Files and variables from which a version is built, and the check of the variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use template_family::{Fingerprint, Inputs};
use tf_provider::{Diagnostic, Diagnostics};

use super::model::KnownTemplate;
use crate::diagnostics::{self, Detailed as _, Unable as _};

/// Variables that the provider sets in every Packer template that declares them.
pub(super) const OURS: &[&str] = &[
    "proxmox_url",
    "proxmox_username",
    "proxmox_token",
    "proxmox_node",
    "vm_id",
    "template_name",
    "template_description",
    "tags",
    "resource_pool",
    "storage_pool",
    "iso_storage_pool",
    "bridge",
    "runner_version",
    "runner_url",
    "runner_sha256",
];

/// Variables that the provider generates for each build, unless the plan sets them.
pub(super) const GENERATED: &[&str] = &["ssh_username", "ssh_password", "ssh_password_hash"];

/// The content of the directory at the time of reading.
pub(super) struct Source {
    pub(super) directory: PathBuf,
    pub(super) inputs: Inputs,
    pub(super) template: packer_driver::Template,
    pub(super) fingerprint: String,
}

impl Source {
    /// Reads the files and the declarations of the Packer template.
    pub(super) fn read(plan: &KnownTemplate) -> Result<Self, Diagnostic> {
        let text = &plan.directory;
        let directory = PathBuf::from(text);
        let ignore = plan.ignore.clone().unwrap_or_default();
        let inputs =
            Inputs::scan(&directory, &ignore).unable("read", "the image's directory", text).about("directory")?;
        let template = packer_driver::Template::read(&directory)
            .unable("read", "the image's Packer template", text)
            .about("directory")?;
        let variables = plan.variables.clone().unwrap_or_default();
        let settings = settings(plan);
        let fingerprint = Fingerprint { inputs: &inputs, variables: &variables, settings: &settings }.digest();
        Ok(Self { directory, inputs, template, fingerprint })
    }

    /// Reports variables that the Packer template does not declare, and declared variables without a value. `secret`
    /// has the names of the secret variables, if they are known.
    pub(super) fn check_variables(
        &self,
        plan: &KnownTemplate,
        secret: Option<&BTreeSet<String>>,
    ) -> Result<(), Diagnostics> {
        let plain: BTreeSet<String> =
            plan.variables.as_ref().map(|all| all.keys().cloned().collect()).unwrap_or_default();
        let mut problems = Diagnostics::new();
        let given = [("variables", Some(&plain)), ("secret_variables_wo", secret)];
        for (attribute, names) in given {
            for name in names.into_iter().flatten() {
                if let Some(problem) = self.problem_of(name) {
                    problems.push(diagnostics::impossible("use", "the variable", name, problem).at(attribute));
                }
            }
        }
        if let Some(secret) = secret {
            let missing: Vec<&str> = self
                .template
                .required
                .iter()
                .map(String::as_str)
                .filter(|name| {
                    !OURS.contains(name)
                        && !GENERATED.contains(name)
                        && !plain.contains(*name)
                        && !secret.contains(*name)
                })
                .collect();
            if !missing.is_empty() {
                let detail = format!(
                    "The Packer template declares these variables without a default: {}. Set them in `variables` or `secret_variables_wo`.",
                    missing.join(", ")
                );
                problems.push(diagnostics::invalid(
                    "variables",
                    "Variables of the Packer template have no value",
                    detail,
                ));
            }
        }
        if problems.iter().next().is_some() { Err(problems) } else { Ok(()) }
    }

    /// Returns the reason why the plan cannot set a variable, or `None` if it can.
    fn problem_of(&self, name: &str) -> Option<String> {
        if OURS.contains(&name) {
            return Some("The provider sets this variable itself for each build. Leave it out.".to_owned());
        }
        if self.template.variables.contains(name) {
            return None;
        }
        let own: Vec<&str> =
            self.template.variables.iter().map(String::as_str).filter(|declared| !OURS.contains(declared)).collect();
        Some(format!("The Packer template does not declare this variable. It declares: {}.", own.join(", ")))
    }
}

/// Returns the other attributes that belong to the fingerprint. Secrets are represented by their version alone.
fn settings(plan: &KnownTemplate) -> BTreeMap<&'static str, String> {
    let texts = [
        ("vm_storage", Some(&plan.vm_storage)),
        ("iso_storage", Some(&plan.iso_storage)),
        ("bridge", Some(&plan.bridge)),
        ("runner_version", Some(&plan.runner_version)),
        ("runner_url", plan.runner_url.as_ref()),
        ("runner_sha256", plan.runner_sha256.as_ref()),
    ];
    let mut settings: BTreeMap<_, _> =
        texts.into_iter().filter_map(|(name, value)| Some((name, value?.clone()))).collect();
    if let Some(revision) = plan.secret_variables_wo_version {
        settings.insert("secrets", revision.to_string());
    }
    settings
}

/// Returns the paths of the files that have changed since the plan.
pub(super) fn changed(planned: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = planned.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| planned.get(*name) != now.get(*name)).cloned().collect()
}
