//! Variables that Packer gets: connection, place, attributes, and credentials that are valid for one build.

use ownership::{NodeName, Vmid};
use pve::Trust;
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tf_provider::Diagnostic;

use super::model::KnownTemplate;
use super::runner_program::RunnerProgram;
use crate::clients::Clients;
use crate::connection::Connection;
use crate::diagnostics::{self, Unable as _};

const USER: &str = "packer";
const PASSWORD_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;

/// Account with which Packer logs in to the build VM. Its password is valid for one build.
pub(super) struct Account {
    name: String,
    password: SecretString,
    hash: SecretString,
}

impl Account {
    /// Generates the account, which is stored nowhere. Variables of the plan take precedence over generated parts.
    pub(super) fn new(plan: &KnownTemplate) -> Result<Self, Diagnostic> {
        let name = given(plan, "ssh_username").unwrap_or_else(|| USER.to_owned());
        let password = given(plan, "ssh_password").unwrap_or_else(|| letters(PASSWORD_LENGTH));
        let hash = match given(plan, "ssh_password_hash") {
            Some(hash) => hash,
            None => sha512_crypt(&password)?,
        };
        Ok(Self { name, password: password.into(), hash: hash.into() })
    }
}

/// Returns the value that the plan gives to a variable.
fn given(plan: &KnownTemplate, name: &str) -> Option<String> {
    let secret =
        plan.secret_variables_wo.as_ref().and_then(|all| all.get(name)).map(|secret| secret.expose().to_owned());
    secret.or_else(|| plan.variables.as_ref().and_then(|all| all.get(name)).cloned())
}

/// Returns the hash of a password in the form of installers and `/etc/shadow`.
fn sha512_crypt(password: &str) -> Result<String, Diagnostic> {
    let salt = letters(SALT_LENGTH);
    let hash = sha_crypt::Sha512Params::new(sha_crypt::ROUNDS_DEFAULT)
        .and_then(|parameters| sha_crypt::sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &parameters));
    let hash =
        hash.map_err(|error| diagnostics::impossible("make", "a password for the build", "", format!("{error:?}")))?;
    Ok(format!("$6${salt}${hash}"))
}

fn letters(count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..count).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// Properties of the version that a build makes.
pub(super) struct Making<'a> {
    pub(super) vmid: Vmid,
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) runner: Option<&'a RunnerProgram>,
}

/// Variables for Packer.
pub(super) struct Variables {
    /// Values by name.
    pub(super) values: Map<String, Value>,
    /// Values that must not appear in any output.
    pub(super) secrets: Vec<SecretString>,
}

impl Variables {
    /// Collects the variables of a build. Secret variables of the plan take precedence over others.
    pub(super) fn new(
        connection: &Connection,
        node: &NodeName,
        plan: &KnownTemplate,
        making: &Making<'_>,
        account: &Account,
    ) -> Self {
        let mut values = Map::new();
        let mut set = |name: &str, value: &str| values.insert(name.to_owned(), Value::from(value));
        for (name, value) in plan.variables.iter().flatten() {
            set(name, value);
        }
        let endpoint = connection.endpoints.first().map(ToString::to_string).unwrap_or_default();
        set("proxmox_url", &format!("{endpoint}/api2/json"));
        set("proxmox_username", connection.token.id());
        set("proxmox_token", connection.token.secret().expose_secret());
        set("proxmox_node", node.as_str());
        set("template_name", making.name);
        set("template_description", making.description);
        // Proxmox VE checks tags at creation against the rights on the VMID alone, so the provider sets them after the
        // build.
        set("tags", "");
        let attributes = [
            ("resource_pool", &plan.resource_pool),
            ("storage_pool", &plan.vm_storage),
            ("iso_storage_pool", &plan.iso_storage),
            ("bridge", &plan.bridge),
        ];
        for (name, value) in attributes {
            set(name, value);
        }
        set("ssh_username", &account.name);
        set("ssh_password", account.password.expose_secret());
        set("ssh_password_hash", account.hash.expose_secret());
        if let Some(runner) = making.runner {
            set("runner_version", &runner.version);
            set("runner_url", &runner.url);
            set("runner_sha256", &runner.sha256);
        }
        let mut secrets = vec![connection.token.secret().clone(), account.password.clone(), account.hash.clone()];
        for (name, secret) in plan.secret_variables_wo.iter().flatten() {
            set(name, secret.expose());
            secrets.push(secret.clone().into_inner());
        }
        values.values_mut().for_each(structured);
        values.insert("vm_id".to_owned(), making.vmid.get().into());
        Self { values, secrets }
    }
}

/// Replaces text that is a JSON list or object by the list or object. The attribute is a map of texts.
fn structured(value: &mut Value) {
    let parsed =
        value.as_str().filter(|text| text.starts_with(['[', '{'])).and_then(|text| serde_json::from_str(text).ok());
    if let Some(parsed) = parsed {
        *value = parsed;
    }
}

/// Returns the PEM certificates that Packer trusts. Packer cannot pin a fingerprint, and cannot skip the check of the
/// name.
pub(super) async fn certificates(clients: &Clients) -> Result<Option<String>, Diagnostic> {
    match &clients.connection.trust {
        Trust::System => Ok(None),
        Trust::CaPem(pem) => Ok(Some(pem.clone())),
        // The provider has accepted the certificate that the server shows, so Packer trusts exactly that certificate.
        Trust::Fingerprint(_) | Trust::Insecure => {
            let shown = clients.pve.server_certificate().await;
            shown.map(Some).unable("read", "the certificate of Proxmox VE", "")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tf_provider::Secret;

    use super::*;

    #[test]
    fn each_account_has_its_own_password_with_a_hash_for_the_installer() {
        let plan = KnownTemplate::default();
        let (one, other) = (Account::new(&plan).unwrap(), Account::new(&plan).unwrap());
        assert_ne!(one.password.expose_secret(), other.password.expose_secret());
        let hash = one.hash.expose_secret();
        let parts: Vec<&str> = hash.split('$').collect();
        assert!(parts.len() == 4 && parts[1] == "6" && parts[2].len() == SALT_LENGTH && parts[3].len() == 86, "{hash}");
    }

    #[test]
    fn variables_of_the_plan_take_precedence_over_generated_parts() {
        let plan = KnownTemplate {
            variables: BTreeMap::from([("ssh_username".to_owned(), "ci".to_owned())]).into(),
            secret_variables_wo: BTreeMap::from([("ssh_password".to_owned(), Secret::new("Hello world!"))]).into(),
            ..KnownTemplate::default()
        };
        let account = Account::new(&plan).unwrap();
        assert_eq!((account.name.as_str(), account.password.expose_secret()), ("ci", "Hello world!"));
        assert!(account.hash.expose_secret().starts_with("$6$"));
    }

    #[test]
    fn json_lists_are_passed_as_lists() {
        let mut value = Value::from(r#"["git","curl"]"#);
        structured(&mut value);
        assert!(value.is_array());
        let mut text = Value::from("[not json");
        structured(&mut text);
        assert_eq!(text, "[not json");
    }
}
