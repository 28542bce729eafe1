//! What a version is to be built from, and whether that can be built at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use template_family::{Fingerprint, Inputs};
use tf_provider::{Diagnostic, Diagnostics};

use super::model::KnownTemplate;
use crate::diagnostics::{self, Detailed as _, Unable as _};

/// Variables that the provider gives to every Packer template that declares them.
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

/// Variables that the provider makes up for each build, unless the user insists: an image whose account is set by other means.
pub(super) const MADE_UP: &[&str] = &["ssh_username", "ssh_password", "ssh_password_hash"];

/// The directory as it is now.
pub(super) struct Source {
    pub(super) directory: PathBuf,
    pub(super) inputs: Inputs,
    pub(super) template: packer_driver::Template,
    pub(super) fingerprint: String,
}

impl Source {
    /// Reads files and declarations.
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

    /// Finds variables that the template does not have, or that nobody gives. `secret`: names of the secret ones, if known.
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
                    !OURS.contains(name) && !MADE_UP.contains(name) && !plain.contains(*name) && !secret.contains(*name)
                })
                .collect();
            if !missing.is_empty() {
                let detail = format!(
                    "The Packer template declares them without a default: {}. Set them in `variables` or `secret_variables_wo`.",
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

    fn problem_of(&self, name: &str) -> Option<String> {
        if OURS.contains(&name) {
            return Some(
                "The provider sets it itself, from its own arguments, for each build. Leave it out.".to_owned(),
            );
        }
        if self.template.variables.contains(name) {
            return None;
        }
        let own: Vec<&str> =
            self.template.variables.iter().map(String::as_str).filter(|declared| !OURS.contains(declared)).collect();
        Some(format!("The Packer template declares no such variable. It has: {}.", own.join(", ")))
    }
}

/// What matters beside files and variables. Secrets are represented by their revision alone.
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

/// Paths whose files are not what they were when the plan was made.
pub(super) fn changed(planned: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = planned.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| planned.get(*name) != now.get(*name)).cloned().collect()
}
