//! Errors become diagnostics here, and nowhere else: `Unable to <verb> <thing> "<id>"`, then the chain of causes, then what to do.

use std::error::Error;

use tf_provider::Diagnostic;

/// The chain of causes, outermost first, each on a line of its own.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = inner.to_string();
        if !text.ends_with(&line) {
            text.push_str("\n  because: ");
            text.push_str(&line);
        }
        cause = inner.source();
    }
    text
}

fn summary(verb: &str, thing: &str, id: &str) -> String {
    if id.is_empty() { format!("Unable to {verb} {thing}") } else { format!("Unable to {verb} {thing} \"{id}\"") }
}

/// An argument that cannot be used as it stands.
pub(crate) fn refused_argument(argument: &str, thing: &str, error: &(dyn Error + 'static)) -> Diagnostic {
    Diagnostic::error(summary("use", thing, ""), chain(error)).at(argument)
}

/// Anything that is not a call to Proxmox VE.
pub(crate) fn failed(verb: &str, thing: &str, id: &str, error: &(dyn Error + 'static)) -> Diagnostic {
    Diagnostic::error(summary(verb, thing, id), chain(error))
}

/// A call to Proxmox VE that failed, with a hint where one helps.
pub(crate) fn pve(verb: &str, thing: &str, id: &str, error: &pve::Error) -> Diagnostic {
    let mut detail = chain(error);
    if let Some(hint) = hint(error) {
        detail.push_str("\n\n");
        detail.push_str(&hint);
    }
    Diagnostic::error(summary(verb, thing, id), detail)
}

/// A step in the life of a runner VM that failed.
pub(crate) fn step(verb: &str, thing: &str, id: &str, error: &guest::Error) -> Diagnostic {
    match &error.problem {
        guest::Problem::Pve(error) => pve(verb, thing, id, error),
        guest::Problem::VmidTaken => {
            let hint = "A foreign guest has the VMID; it was left alone. Choose another VMID.";
            Diagnostic::error(summary(verb, thing, id), format!("{}\n\n{hint}", chain(&error.problem)))
        }
        guest::Problem::NotOurs(_) | guest::Problem::OtherIncarnation => {
            let hint = "The guest was left alone. If it is no longer the one that was made here, remove the resource from the state (`tofu state rm`).";
            Diagnostic::error(summary(verb, thing, id), format!("{}\n\n{hint}", chain(&error.problem)))
        }
        guest::Problem::NotReady { .. } => {
            let hint = "Look at its console in the web interface. The image must start qemu-guest-agent; a slow machine needs a longer limit in `timeouts`.";
            Diagnostic::error(summary(verb, thing, id), format!("{}\n\n{hint}", chain(&error.problem)))
        }
        problem => failed(verb, thing, id, problem),
    }
}

/// No VMID is left.
pub(crate) fn range_full(thing: &str, id: &str, range: ownership::VmidRange) -> Diagnostic {
    let detail = format!(
        "Every VMID of {range} is taken, by guests of this installation or by others. Widen the range, or destroy guests that are no longer needed."
    );
    Diagnostic::error(summary("create", thing, id), detail)
}

/// What to do about it.
fn hint(error: &pve::Error) -> Option<String> {
    match error {
        pve::Error::Unreachable { endpoint, .. } => Some(format!(
            "Check that `endpoint` is right and that this machine can reach {endpoint}; Proxmox VE listens on port 8006."
        )),
        pve::Error::Untrusted { fingerprint, .. } => Some(format!(
            "If this is your server, compare the fingerprint below with the one that its web interface shows (Node, System, Certificates) and set either `fingerprint = \"{fingerprint}\"` or `ca_certificate = file(\"pve-root-ca.pem\")`, which is /etc/pve/pve-root-ca.pem on the node."
        )),
        pve::Error::NotPve { endpoint, .. } => Some(format!(
            "Check `endpoint`: it is the address of the web interface, as in \"https://pve1.example.net:8006\". {endpoint} is some other server, or a proxy that does not pass /api2/json on."
        )),
        error if error.is_unauthenticated() => Some(
            "Check `token_id` (user@realm!name) and `token_secret`; a token that was removed, has expired, or belongs to a disabled user is refused in the same way.".to_owned(),
        ),
        error => error.missing_privilege().map(|missing| missing_privilege_hint(&missing)).or_else(|| refusal_hint(error)),
    }
}

fn missing_privilege_hint(missing: &pve::MissingPrivilege) -> String {
    let (Some(path), Some(privilege)) = (&missing.path, missing.privileges.first()) else {
        return "The token lacks a privilege that Proxmox VE does not name. For a new guest it is VM.Allocate, on /pool/NAME of its resource pool or on /vms/VMID. docs/privileges.md lists what a farm needs.".to_owned();
    };
    let token = missing.token_id.as_deref().unwrap_or("USER@REALM!NAME");
    let user = token.split('!').next().unwrap_or(token);
    let privileges = missing.privileges.join(" or ");
    if let Some(vmid) = path.strip_prefix("/vms/") {
        return format!(
            "The token lacks {privileges} on guest {vmid}. Grant it on the resource pool that the guest belongs to, not on the one VMID: the next guest has another. With privilege separation both the user and the token need it: `pveum role add PxciExtra --privs {privilege}`, then `pveum acl modify /pool/NAME --roles PxciExtra --users '{user}' --tokens '{token}'`. A guest outside the pool is refused in the same way. docs/privileges.md lists what a farm needs."
        );
    }
    let absent = if path.starts_with("/storage/") { " (or there is no such storage: check its name)" } else { "" };
    format!(
        "The token lacks {privileges} on {path}{absent}. With privilege separation both the user and the token need it: `pveum role add PxciExtra --privs {privilege}`, then `pveum acl modify {path} --roles PxciExtra --users '{user}' --tokens '{token}'`. docs/privileges.md lists what a farm needs."
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
        return Some("Check `node`: it is the name that the web interface shows below Datacenter.".to_owned());
    }
    if error.is_guest_missing() {
        return Some("There is no guest with that VMID on that node: check both.".to_owned());
    }
    if error.is_volume_missing() {
        return Some(
            "A volume that the guest is to use is not on its storage: deliver it first, or correct its volume id."
                .to_owned(),
        );
    }
    if error.is_agent_not_configured() {
        return Some("The template must have `agent: 1` in its configuration (Options, QEMU Guest Agent).".to_owned());
    }
    if error.is_storage_missing() {
        return Some("Check the storage's name, and that it is enabled on this node.".to_owned());
    }
    if error.is_range_full() {
        return Some(
            "Every VMID of the range is taken: widen the range, or destroy guests that are no longer needed."
                .to_owned(),
        );
    }
    if error.is_pool_missing() {
        return Some("Create the resource pool (`pveum pool add NAME`), and give the token Pool.Audit and VM.Allocate on /pool/NAME.".to_owned());
    }
    None
}
