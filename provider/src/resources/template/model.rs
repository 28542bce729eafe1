//! The schema and state of `pxci_template`.

use std::collections::BTreeMap;

use ownership::{Build, Installation, VmidRange};
use template_family::{Family, FamilyName, Version};
use tf_provider::{Attr, Diagnostic, Model, Secret, Timeouts};

use crate::clients::Clients;
use crate::diagnostics;
use crate::nodes::good_node;

/// Name of the resource in diagnostics.
pub(super) const THING: &str = "template";

/// A family of VM templates, which Packer builds from the files of a directory.
///
/// A change of any file or variable builds a new version next to the current one, boots a clone of the new version to verify
/// it, and then switches to it. If the build fails, the current version stays. The plan names every file that changed. If an
/// earlier version was built from the same inputs, it is adopted, and nothing is built.
#[derive(Clone, Default, Model)]
pub(crate) struct Template {
    /// Name of the family, with which the name of every version begins. Lower-case letters, digits and hyphens.
    #[tf(required, replace, identity, validate = good_family)]
    pub(crate) family: Attr<String>,
    /// Installation of the family, which is the provider's.
    #[tf(computed, keep, identity)]
    pub(crate) installation: Attr<String>,
    /// Node on which versions are built. Default: the provider's node.
    #[tf(optional, computed, keep, replace, validate = good_node)]
    pub(crate) node: Attr<String>,
    /// Proxmox VE resource pool of the versions. Guests outside this pool are never destroyed.
    #[tf(required, replace, length(1..=128))]
    pub(crate) resource_pool: Attr<String>,
    /// Range of VMIDs for versions and for the clones that verify them, as in `9000-9049`.
    #[tf(required, unread, validate = good_range)]
    pub(crate) vmid_range: Attr<String>,
    /// Directory of the Packer template. Every file below it is an input. If a file changes between plan and apply, the apply
    /// fails: the core reports an inconsistent final plan and names the file.
    #[tf(required, unread)]
    pub(crate) directory: Attr<String>,
    /// Glob patterns of files that are not inputs, such as `docs/**`.
    #[tf(optional)]
    pub(crate) ignore: Attr<Vec<String>>,
    /// Further variables for the Packer template. A value that is a JSON list or object is passed as a list or object.
    #[tf(optional)]
    pub(crate) variables: Attr<BTreeMap<String, String>>,
    /// Secret variables for the Packer template. They are stored neither in the state nor in the plan. Set them together with
    /// `secret_variables_wo_version`.
    #[tf(optional, write_only, sensitive)]
    pub(crate) secret_variables_wo: Attr<BTreeMap<String, Secret>>,
    /// Version of `secret_variables_wo`. A new version builds a new template version.
    #[tf(optional)]
    pub(crate) secret_variables_wo_version: Attr<i64>,
    /// Storage for the disks. Must support linked clones.
    #[tf(required, unread)]
    pub(crate) vm_storage: Attr<String>,
    /// Storage for installation media. Needs content type `iso`.
    #[tf(required, unread)]
    pub(crate) iso_storage: Attr<String>,
    /// Bridge of the build VM's network card, which clones inherit.
    #[tf(default = "vmbr0")]
    pub(crate) bridge: Attr<String>,
    /// Version of GitHub's runner program, as in `2.336.0`, or `latest`, which is resolved when a template version is built. A
    /// newer release of the runner program does not change the plan.
    #[tf(default = "latest")]
    pub(crate) runner_version: Attr<String>,
    /// URL of the runner program's archive. Default: GitHub's. Needs `runner_sha256`, and a `runner_version` other than
    /// `latest`.
    #[tf(optional)]
    pub(crate) runner_url: Attr<String>,
    /// SHA-256 of the runner program's archive.
    #[tf(optional, validate = good_sha256)]
    pub(crate) runner_sha256: Attr<String>,
    /// Base URL of the API at which the newest release of the runner program is looked up.
    #[tf(default = "https://api.github.com")]
    pub(crate) github_api_url: Attr<String>,
    /// Path of the Packer program. Default: `packer` on `PATH`. Environment: `PXCI_PACKER`.
    #[tf(optional)]
    pub(crate) packer_path: Attr<String>,
    /// Number of verified versions to keep. The version that was current before an apply stays until the next apply.
    #[tf(default = 2, range(1..=50))]
    pub(crate) keep_versions: Attr<i64>,
    /// True if a clone of a new version must boot before the resource switches to the version.
    #[tf(default = true)]
    pub(crate) verify: Attr<bool>,
    /// Input files by path, each with the first digits of its SHA-256 and `+x` if it is executable.
    #[tf(computed)]
    pub(crate) inputs: Attr<BTreeMap<String, String>>,
    /// Digest of everything that a version is built from, except secrets.
    #[tf(computed)]
    pub(crate) fingerprint: Attr<String>,
    /// Number of the current version.
    #[tf(computed)]
    pub(crate) version: Attr<u32>,
    /// VMID of the current version, from which runner VMs are cloned.
    #[tf(computed)]
    pub(crate) vmid: Attr<u32>,
    /// Name of the current version.
    #[tf(computed)]
    pub(crate) template_name: Attr<String>,
    /// Version of GitHub's runner program in the current version.
    #[tf(computed)]
    pub(crate) runner_version_installed: Attr<String>,
    /// Time at which the current version was built, in RFC 3339.
    #[tf(computed)]
    pub(crate) built_at: Attr<String>,
    /// Versions by VMID, each with its number and `ready` or `retired`.
    #[tf(computed)]
    pub(crate) versions: Attr<BTreeMap<String, String>>,
    /// Time limits of operations.
    #[tf(timeouts(create = "3h", update = "3h", delete = "30m"))]
    pub(crate) timeouts: Timeouts,
}

impl KnownTemplate {
    /// Returns the place of the family.
    pub(crate) fn family(&self, clients: &Clients) -> Result<Family, Diagnostic> {
        is_of(&self.family, &self.installation, &clients.installation)?;
        let range = Some(self.vmid_range.as_str()).filter(|range| !range.is_empty());
        let place = Place { node: &self.node, resource_pool: &self.resource_pool, range, vmid: &self.vmid };
        family(clients, &self.family, &place)
    }

    /// Sets the attributes of the current version.
    pub(crate) fn show(&mut self, version: &Version) {
        self.version = version.number.into();
        self.vmid = version.vmid.get().into();
        self.template_name = version.name.clone().into();
        self.fingerprint = version.fingerprint.clone().into();
        self.runner_version_installed = version.runner_version.clone().into();
        self.built_at = version.built_at.clone().into();
    }

    /// Sets the list of versions.
    pub(crate) fn list(&mut self, versions: &[Version]) {
        self.versions = listed(versions).into();
    }
}

/// Attributes that determine the place of a family.
struct Place<'a> {
    node: &'a Attr<String>,
    resource_pool: &'a str,
    /// Range of VMIDs. `None` after an import.
    range: Option<&'a str>,
    vmid: &'a Attr<u32>,
}

fn family(clients: &Clients, name: &str, place: &Place<'_>) -> Result<Family, Diagnostic> {
    let name: FamilyName = name.parse().map_err(|error: template_family::FamilyNameError| {
        diagnostics::refused_argument("family", "the family's name", &error)
    })?;
    Ok(Family {
        installation: clients.installation.clone(),
        name,
        node: clients.node(place.node)?,
        resource_pool: place.resource_pool.to_owned(),
        range: range(place.range, place.vmid)?,
    })
}

/// Checks that a family belongs to the provider's installation. A provider of another installation would find no version of
/// the family, and would take it for destroyed.
pub(crate) fn is_of(family: &str, own: &Attr<String>, installation: &Installation) -> Result<(), Diagnostic> {
    let Some(own) = own.text().filter(|own| *own != installation.as_str()) else { return Ok(()) };
    let detail = format!(
        "It belongs to the installation \"{own}\", but the provider's installation is \"{installation}\". Use a provider whose `installation` is \"{own}\", or remove the template from the state (`tofu state rm`)."
    );
    Err(diagnostics::impossible("use", THING, family, detail))
}

/// Returns the range of VMIDs. After an import, the range is the VMID of the current version alone.
fn range(range: Option<&str>, vmid: &Attr<u32>) -> Result<VmidRange, Diagnostic> {
    let text = match (range, vmid.known()) {
        (Some(range), _) => range.to_owned(),
        (None, Some(vmid)) => vmid.to_string(),
        (None, None) => {
            return Err(diagnostics::invalid("vmid_range", "No VMID range is given", "Set `vmid_range`."));
        }
    };
    text.parse()
        .map_err(|error: ownership::RangeError| diagnostics::refused_argument("vmid_range", "the VMID range", &error))
}

impl Template {
    /// Returns the place of the family in the state.
    pub(crate) fn family(&self, clients: &Clients) -> Result<Family, Diagnostic> {
        let name = self.family.require("family")?;
        is_of(name, &self.installation, &clients.installation)?;
        let resource_pool = self.resource_pool.require("resource_pool")?;
        let place = Place { node: &self.node, resource_pool, range: self.vmid_range.text(), vmid: &self.vmid };
        family(clients, name, &place)
    }

    /// Sets the attributes of the current version.
    pub(crate) fn show(&mut self, version: &Version) {
        self.version = version.number.into();
        self.vmid = version.vmid.get().into();
        self.template_name = version.name.clone().into();
        self.fingerprint = version.fingerprint.clone().into();
        self.runner_version_installed = version.runner_version.clone().into();
        self.built_at = version.built_at.clone().into();
    }

    /// Sets the attributes of the current version to unknown, because it is not built yet.
    pub(crate) fn show_unbuilt(&mut self) {
        self.version = Attr::Unknown;
        self.vmid = Attr::Unknown;
        self.template_name = Attr::Unknown;
        self.runner_version_installed = Attr::Unknown;
        self.built_at = Attr::Unknown;
        self.versions = Attr::Unknown;
    }

    /// Sets the attributes that depend on unknown inputs to unknown.
    pub(crate) fn show_undetermined(&mut self) {
        self.inputs = Attr::Unknown;
        self.fingerprint = Attr::Unknown;
        self.show_unbuilt();
    }

    /// Sets the list of versions.
    pub(crate) fn list(&mut self, versions: &[Version]) {
        self.versions = listed(versions).into();
    }
}

fn listed(versions: &[Version]) -> BTreeMap<String, String> {
    let rows = versions.iter().filter(|version| version.build != Build::Building);
    rows.map(|version| (version.vmid.to_string(), row(version))).collect()
}

fn row(version: &Version) -> String {
    let state = if version.build == Build::Retired { "retired" } else { "ready" };
    format!("version {}, {state}", version.number)
}

fn good_family(name: &str) -> Result<(), String> {
    name.parse::<FamilyName>().map(drop).map_err(|error| error.to_string())
}

fn good_range(range: &str) -> Result<(), String> {
    range.parse::<VmidRange>().map(drop).map_err(|error| error.to_string())
}

fn good_sha256(digest: &str) -> Result<(), String> {
    let fits = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if fits { Ok(()) } else { Err("must be 64 lower-case hexadecimal digits".to_owned()) }
}
