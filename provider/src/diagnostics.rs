//! Diagnostics of the provider. No other file makes diagnostics (`tests/diagnostics_in_one_place.rs`).
//!
//! The summary of a diagnostic is `Unable to <verb> <thing> "<id>"`. Its detail has the chain of causes and a hint.
//! [`Unable`] turns errors of libraries into diagnostics. The constructors below it are for problems that the provider
//! itself finds.

use std::error::Error;
use std::fmt::Display;

use error_chain::Chain;
use ownership::Vmid;
use tf_provider::{Diagnostic, Path};

/// An error that can be the cause of a diagnostic.
pub(crate) trait Cause: Error + Sized + 'static {
    /// Returns the error that the detail begins with.
    fn outermost(&self) -> &(dyn Error + 'static) {
        self
    }

    /// Returns advice for the user, if there is any.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl Cause for pve::Error {
    fn hint(&self) -> Option<String> {
        hint(self)
    }
}

impl Cause for guest::Error {
    /// Returns the problem, because the diagnostic already says what was being done, and to which guest.
    fn outermost(&self) -> &(dyn Error + 'static) {
        self.problem.outermost()
    }

    fn hint(&self) -> Option<String> {
        self.problem.hint()
    }
}

impl Cause for guest::Problem {
    fn outermost(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Pve(error) => error,
            problem => problem,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Pve(error) => return hint(error),
            Self::VmidTaken => {
                "The guest with this VMID was not created here, so it was not changed. Choose another VMID."
            }
            Self::NotOurs(ownership::NotOurs::NoMarker(_)) => {
                "The guest was not changed. If its description (\"Notes\" in the web interface) was edited, restore the line that begins with `pxci:v1`. If the guest is not the one that this resource created, remove the resource from the state (`tofu state rm`)."
            }
            Self::NotOurs(_) | Self::OtherIncarnation => {
                "The guest was not changed. If it is no longer the one that this resource created, remove the resource from the state (`tofu state rm`)."
            }
            Self::NotReady { .. } => {
                "Check the VM's console in the web interface. The image must start qemu-guest-agent. A slow VM needs a longer limit in `timeouts`."
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Implements [`Cause`] for errors that need no hint.
macro_rules! causes {
    ($($error:ty),* $(,)?) => { $(impl Cause for $error {})* };
}

causes! {
    dispatcher_api::ConfigError,
    github::Error,
    ownership::NameError,
    ownership::NotOurs,
    packer_driver::Error,
    packer_driver::TemplateError,
    template_family::FamilyNameError,
    template_family::InputsError,
}

/// Turns the error of a result into a diagnostic.
pub(crate) trait Unable<T> {
    /// Turns the error into the diagnostic `Unable to <verb> <thing> "<id>"`. An empty id is left out.
    fn unable(self, verb: &str, thing: &str, id: impl Display) -> Result<T, Diagnostic>;
}

impl<T, E: Cause> Unable<T> for Result<T, E> {
    fn unable(self, verb: &str, thing: &str, id: impl Display) -> Result<T, Diagnostic> {
        self.map_err(|error| unable(verb, thing, id, &error))
    }
}

/// Adds to a diagnostic.
pub(crate) trait Detailed {
    /// Points the diagnostic at an attribute.
    fn about(self, attribute: impl Into<Path>) -> Self;

    /// Adds a paragraph to the detail.
    fn also(self, text: impl Display) -> Self;
}

impl Detailed for Diagnostic {
    fn about(self, attribute: impl Into<Path>) -> Self {
        self.at(attribute)
    }

    fn also(mut self, text: impl Display) -> Self {
        self.detail.push_str(&format!("\n\n{text}"));
        self
    }
}

impl<T> Detailed for Result<T, Diagnostic> {
    fn about(self, attribute: impl Into<Path>) -> Self {
        self.map_err(|diagnostic| diagnostic.about(attribute))
    }

    fn also(self, text: impl Display) -> Self {
        self.map_err(|diagnostic| diagnostic.also(text))
    }
}

fn summary(verb: &str, thing: &str, id: impl Display) -> String {
    let id = id.to_string();
    if id.is_empty() { format!("Unable to {verb} {thing}") } else { format!("Unable to {verb} {thing} \"{id}\"") }
}

/// Returns the diagnostic of an error that is not in a `Result`: see [`Unable`].
pub(crate) fn unable(verb: &str, thing: &str, id: impl Display, error: &impl Cause) -> Diagnostic {
    let diagnostic = Diagnostic::error(summary(verb, thing, id), format!("{:#}", Chain(error.outermost())));
    match error.hint() {
        Some(hint) => diagnostic.also(hint),
        None => diagnostic,
    }
}

/// Returns the diagnostic of an operation that the provider refuses.
pub(crate) fn impossible(verb: &str, thing: &str, id: impl Display, reason: impl Into<String>) -> Diagnostic {
    Diagnostic::error(summary(verb, thing, id), reason)
}

/// Returns the diagnostic of an argument that cannot be parsed.
pub(crate) fn refused_argument(argument: &str, thing: &str, error: &(dyn Error + 'static)) -> Diagnostic {
    Diagnostic::error(summary("use", thing, ""), format!("{:#}", Chain(error))).at(argument)
}

/// Returns the diagnostic of an argument that is missing, or conflicts with others.
pub(crate) fn invalid(argument: impl Into<Path>, summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
    Diagnostic::error(summary, detail).at(argument)
}

/// Checks an argument that is a VMID.
///
/// # Errors
/// A diagnostic at the argument.
pub(crate) fn vmid(argument: &str, number: u32) -> Result<Vmid, Diagnostic> {
    Vmid::new(number).map_err(|error| refused_argument(argument, "the VMID", &error))
}

/// Returns a warning about an argument.
pub(crate) fn doubtful(argument: impl Into<Path>, summary: &str, detail: &str) -> Diagnostic {
    Diagnostic::warning(summary, detail).at(argument)
}

/// Returns a diagnostic with these texts.
pub(crate) fn error(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
    Diagnostic::error(summary, detail)
}

/// Returns the diagnostic of a range in which every VMID is taken.
pub(crate) fn range_full(thing: &str, id: &str, range: ownership::VmidRange) -> Diagnostic {
    let reason =
        format!("Every VMID of {range} is taken. Widen the range, or destroy guests that are no longer needed.");
    impossible("create", thing, id, reason)
}

/// Returns advice on an error of Proxmox VE.
fn hint(error: &pve::Error) -> Option<String> {
    match error {
        pve::Error::Unreachable { endpoint, .. } => Some(format!(
            "Check that `endpoint` is right, and that {endpoint} can be reached from here. Proxmox VE listens on port 8006."
        )),
        pve::Error::Untrusted { fingerprint, .. } => Some(format!(
            "If this is your server, compare the fingerprint below with the one in its web interface (Node, System, Certificates), and set either `fingerprint = \"{fingerprint}\"` or `ca_certificate = file(\"pve-root-ca.pem\")`, which is /etc/pve/pve-root-ca.pem on the node."
        )),
        pve::Error::NotPve { endpoint, .. } => Some(format!(
            "Check `endpoint`, the address of the web interface, as in \"https://pve1.example.net:8006\". {endpoint} is another server, or a proxy that does not forward /api2/json."
        )),
        error if error.is_unauthenticated() => Some(
            "Check `token_id` (user@realm!name) and `token_secret`. Proxmox VE gives the same answer if the token was removed or has expired, or if its user is disabled.".to_owned(),
        ),
        error => error.missing_privilege().map(|missing| missing_privilege_hint(&missing)).or_else(|| refusal_hint(error)),
    }
}

fn missing_privilege_hint(missing: &pve::MissingPrivilege) -> String {
    let (Some(path), Some(privilege)) = (&missing.path, missing.privileges.first()) else {
        return "The token lacks a privilege that Proxmox VE does not name. A new guest needs VM.Allocate on /pool/NAME of its resource pool, or on /vms/VMID. docs/privileges.md lists the privileges that a farm needs.".to_owned();
    };
    let token = missing.token_id.as_deref().unwrap_or("USER@REALM!NAME");
    let user = token.split('!').next().unwrap_or(token);
    let privileges = missing.privileges.join(" or ");
    if let Some(vmid) = path.strip_prefix("/vms/") {
        return format!(
            "The token lacks {privileges} on guest {vmid}. Grant it on the resource pool of the guest, not on the VMID, because the next guest has another VMID. With privilege separation, both the user and the token need it: `pveum role add PxciExtra --privs {privilege}`, then `pveum acl modify /pool/NAME --roles PxciExtra --users '{user}' --tokens '{token}'`. Proxmox VE gives the same answer for a guest outside the pool. docs/privileges.md lists the privileges that a farm needs."
        );
    }
    let absent = if path.starts_with("/storage/") { " (or there is no such storage: check its name)" } else { "" };
    format!(
        "The token lacks {privileges} on {path}{absent}. With privilege separation, both the user and the token need it: `pveum role add PxciExtra --privs {privilege}`, then `pveum acl modify {path} --roles PxciExtra --users '{user}' --tokens '{token}'`. docs/privileges.md lists the privileges that a farm needs."
    )
}

fn refusal_hint(error: &pve::Error) -> Option<String> {
    if error.is_content_type_refused() {
        return Some(
            "Enable that content type for the storage (Datacenter, Storage, Edit, Content), or name another storage."
                .to_owned(),
        );
    }
    if error.is_node_unknown() {
        return Some("Check `node`. The web interface shows the names of nodes below Datacenter.".to_owned());
    }
    if error.is_guest_missing() {
        return Some("There is no guest with that VMID on that node. Check both.".to_owned());
    }
    if error.is_volume_missing() {
        return Some(
            "A volume that the guest needs is not on its storage. Upload it first, or correct its volume id."
                .to_owned(),
        );
    }
    if error.is_agent_not_configured() {
        return Some("The template must have `agent: 1` in its configuration (Options, QEMU Guest Agent).".to_owned());
    }
    if error.is_storage_missing() {
        return Some("Check the storage's name, and that the storage is enabled on this node.".to_owned());
    }
    if error.is_range_full() {
        return Some(
            "Every VMID of the range is taken. Widen the range, or destroy guests that are no longer needed."
                .to_owned(),
        );
    }
    if error.is_pool_missing() {
        return Some("Create the resource pool (`pveum pool add NAME`), and give the token Pool.Audit and VM.Allocate on /pool/NAME.".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vmid() -> ownership::Vmid {
        ownership::Vmid::new(9100).unwrap()
    }

    fn refused() -> guest::Error {
        guest::Error { doing: "clone", kind: ownership::Kind::Runner, vmid: vmid(), problem: guest::Problem::VmidTaken }
    }

    #[test]
    fn a_diagnostic_says_what_failed_why_and_what_to_do() {
        let diagnostic = Err::<(), _>(refused()).unable("create", "runner VM", "lab-a-9100-x").unwrap_err();
        assert_eq!(diagnostic.summary, "Unable to create runner VM \"lab-a-9100-x\"");
        let detail = "the VMID belongs to another guest\n\nThe guest with this VMID was not created here, so it was not changed. Choose another VMID.";
        assert_eq!(diagnostic.detail, detail);
    }

    #[test]
    fn each_cause_is_on_a_line_of_its_own() {
        let problem = guest::Problem::NotOurs(ownership::NotOurs::NoMarker(vmid()));
        let error = guest::Error { doing: "destroy", kind: ownership::Kind::Runner, vmid: vmid(), problem };
        let detail = unable("destroy", "runner VM", "x", &error).detail;
        assert!(detail.starts_with("the guest is not provably ours\n  because: "), "{detail}");
    }

    #[test]
    fn a_diagnostic_takes_an_attribute_and_further_paragraphs() {
        let failed = Err::<(), _>(refused()).unable("create", "runner VM", "").about("vmid").also("Try again.");
        let diagnostic = failed.unwrap_err();
        assert_eq!(
            (diagnostic.summary.as_str(), diagnostic.path.to_string().as_str()),
            ("Unable to create runner VM", "vmid")
        );
        assert!(diagnostic.detail.ends_with("Choose another VMID.\n\nTry again."), "{}", diagnostic.detail);
    }
}
