//! The typed state of `pxci_template`.

use std::collections::BTreeMap;

use ownership::{Build, Installation, VmidRange};
use template_family::{Family, FamilyName, Version};
use tf_provider::{Attr, Diagnostic, Model, Secret, Timeouts};

use crate::diagnostics;
use crate::provider::Clients;

/// A family of golden VM templates, built by Packer from the files of a directory.
///
/// A change of any file or variable builds a new version beside the current one, boots a clone of it to verify it, and only
/// then switches to it; a failed build leaves the current version in place. The plan names every file that changed.
/// A version that was built from the same inputs before is taken over instead of being built again.
#[derive(Clone, Default, Model)]
pub(crate) struct Template {
    /// Name of the family, and beginning of every version's name: lower-case letters, digits and hyphens.
    #[tf(required, replace, identity, validate = good_family)]
    pub(crate) family: Attr<String>,
    /// Installation that the family belongs to: the provider's.
    #[tf(computed, keep, identity)]
    pub(crate) installation: Attr<String>,
    /// Node on which versions are built. Default: the provider's.
    #[tf(optional, computed, keep, replace)]
    pub(crate) node: Attr<String>,
    /// Resource pool of Proxmox VE that versions are members of. Nothing outside it is ever destroyed.
    #[tf(required, replace, length(1..=128))]
    pub(crate) resource_pool: Attr<String>,
    /// VMIDs to choose from, as in `9000-9049`: for versions, and for the clone that verifies one.
    #[tf(required, unread, validate = good_range)]
    pub(crate) vmid_range: Attr<String>,
    /// Directory of the Packer template. Every file below it counts as an input. Files that change between plan and apply are
    /// refused; the core words that as an inconsistent final plan, and names the file.
    #[tf(required, unread)]
    pub(crate) directory: Attr<String>,
    /// Files of the directory that are not inputs, as glob patterns such as `docs/**`.
    #[tf(optional)]
    pub(crate) ignore: Attr<Vec<String>>,
    /// Further variables for the Packer template. A value that is a JSON list or object is handed over as such.
    #[tf(optional)]
    pub(crate) variables: Attr<BTreeMap<String, String>>,
    /// Secret variables for the Packer template; neither in state nor in plan. Use them with `secret_variables_wo_version`.
    #[tf(optional, write_only, sensitive)]
    pub(crate) secret_variables_wo: Attr<BTreeMap<String, Secret>>,
    /// Raise it when `secret_variables_wo` change what is built.
    #[tf(optional)]
    pub(crate) secret_variables_wo_version: Attr<i64>,
    /// Storage of the disks; it must be able to make linked clones.
    #[tf(required, unread)]
    pub(crate) vm_storage: Attr<String>,
    /// Storage with content type `iso`, for installation media.
    #[tf(required, unread)]
    pub(crate) iso_storage: Attr<String>,
    /// Bridge of the network card.
    #[tf(default = "vmbr0")]
    pub(crate) bridge: Attr<String>,
    /// Version of GitHub's runner program, as in `2.336.0`, or `latest`, which is resolved when a version is built. A newer
    /// release alone changes no plan.
    #[tf(default = "latest")]
    pub(crate) runner_version: Attr<String>,
    /// Where to get the runner program from instead of GitHub. Needs `runner_sha256` and a `runner_version` that is a number.
    #[tf(optional)]
    pub(crate) runner_url: Attr<String>,
    /// SHA-256 of the runner program's archive.
    #[tf(optional, validate = good_sha256)]
    pub(crate) runner_sha256: Attr<String>,
    /// API in which the newest runner release is looked up.
    #[tf(default = "https://api.github.com")]
    pub(crate) github_api_url: Attr<String>,
    /// The Packer program. Default: environment `PXCI_PACKER`, else `packer` on `PATH`.
    #[tf(optional)]
    pub(crate) packer_path: Attr<String>,
    /// How many verified versions are kept. The one that was current before an apply stays until the next.
    #[tf(default = 2, range(1..=50))]
    pub(crate) keep_versions: Attr<i64>,
    /// Whether a clone of a new version is booted before it is switched to.
    #[tf(default = true)]
    pub(crate) verify: Attr<bool>,
    /// Every input file: its path → the first digits of its SHA-256, and `+x` where it is executable.
    #[tf(computed)]
    pub(crate) inputs: Attr<BTreeMap<String, String>>,
    /// Digest of everything that goes into a version, secrets excepted.
    #[tf(computed)]
    pub(crate) fingerprint: Attr<String>,
    /// Number of the current version.
    #[tf(computed)]
    pub(crate) version: Attr<u32>,
    /// VMID of the current version: what runner VMs are cloned from.
    #[tf(computed)]
    pub(crate) vmid: Attr<u32>,
    /// Name of the current version.
    #[tf(computed)]
    pub(crate) template_name: Attr<String>,
    /// Version of GitHub's runner program in the current version.
    #[tf(computed)]
    pub(crate) runner_version_installed: Attr<String>,
    /// When the current version was built.
    #[tf(computed)]
    pub(crate) built_at: Attr<String>,
    /// Every version that there is: VMID → its number, and whether it is ready or retired.
    #[tf(computed)]
    pub(crate) versions: Attr<BTreeMap<String, String>>,
    /// How long operations may take.
    #[tf(timeouts(create = "3h", update = "3h", delete = "30m"))]
    pub(crate) timeouts: Timeouts,
}

impl KnownTemplate {
    /// Where the family lives.
    pub(crate) fn family(&self, clients: &Clients) -> Result<Family, Diagnostic> {
        is_of(&self.family, &self.installation, &clients.installation)?;
        let range = Some(self.vmid_range.as_str()).filter(|range| !range.is_empty());
        let place = Place { node: &self.node, resource_pool: &self.resource_pool, range, vmid: &self.vmid };
        family(clients, &self.family, &place)
    }

    /// Takes over what a version is.
    pub(crate) fn show(&mut self, version: &Version) {
        self.version = version.number.into();
        self.vmid = version.vmid.get().into();
        self.template_name = version.name.clone().into();
        self.fingerprint = version.fingerprint.clone().into();
        self.runner_version_installed = version.runner_version.clone().into();
        self.built_at = version.built_at.clone().into();
    }

    /// Takes over the list of versions.
    pub(crate) fn list(&mut self, versions: &[Version]) {
        self.versions = listed(versions).into();
    }
}

/// Where a family lives, as far as the model says.
struct Place<'a> {
    node: &'a Attr<String>,
    resource_pool: &'a str,
    /// `None` after an import.
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

/// Checks that a family is one of the provider's installation. With another provider configuration it would seem to be gone.
pub(crate) fn is_of(family: &str, own: &Attr<String>, installation: &Installation) -> Result<(), Diagnostic> {
    let Some(own) = own.text().filter(|own| *own != installation.as_str()) else { return Ok(()) };
    let detail = format!(
        "It belongs to the installation \"{own}\", but the provider works for \"{installation}\". Use a provider whose `installation` is \"{own}\", or remove the template from the state (`tofu state rm`)."
    );
    Err(diagnostics::impossible("use", "template", family, detail))
}

/// VMIDs to choose from. After an import there is no range yet: then the current version stands for it.
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
    /// Where the family in the state lives.
    pub(crate) fn family(&self, clients: &Clients) -> Result<Family, Diagnostic> {
        let name = self.family.require("family")?;
        is_of(name, &self.installation, &clients.installation)?;
        let resource_pool = self.resource_pool.require("resource_pool")?;
        let place = Place { node: &self.node, resource_pool, range: self.vmid_range.text(), vmid: &self.vmid };
        family(clients, name, &place)
    }

    /// Takes over what a version is.
    pub(crate) fn show(&mut self, version: &Version) {
        self.version = version.number.into();
        self.vmid = version.vmid.get().into();
        self.template_name = version.name.clone().into();
        self.fingerprint = version.fingerprint.clone().into();
        self.runner_version_installed = version.runner_version.clone().into();
        self.built_at = version.built_at.clone().into();
    }

    /// A version that does not exist yet.
    pub(crate) fn show_unbuilt(&mut self) {
        self.version = Attr::Unknown;
        self.vmid = Attr::Unknown;
        self.template_name = Attr::Unknown;
        self.runner_version_installed = Attr::Unknown;
        self.built_at = Attr::Unknown;
        self.versions = Attr::Unknown;
    }

    /// Everything that depends on inputs which are not known.
    pub(crate) fn show_undetermined(&mut self) {
        self.inputs = Attr::Unknown;
        self.fingerprint = Attr::Unknown;
        self.show_unbuilt();
    }

    /// Takes over the list of versions.
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
