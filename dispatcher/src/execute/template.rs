//! Whether what a pool is made from is the template that it is to be made from.
//!
//! A VMID can be taken by something else: what would be cloned is looked at before clones are made, and never cloned when it is
//! not what the configuration says.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dispatcher_api::{RunnerPool, TemplateSource};
use jiff::{SignedDuration, Timestamp};
use ownership::{Build, Installation, Kind, Marker, NodeName, PoolName, Vmid};
use pve::Config;

use super::Executor;

/// Why a template is not cloned.
#[derive(Debug, thiserror::Error)]
pub(super) enum WrongTemplate {
    /// It cannot be looked at.
    #[error("template {vmid} on node \"{node}\" cannot be read")]
    Unreadable {
        /// Its VMID.
        vmid: Vmid,
        /// Where it should be.
        node: NodeName,
        /// Why not.
        #[source]
        source: pve::Error,
    },
    /// It is something else.
    #[error("guest {vmid} is not cloned for pool \"{pool}\": {reason}")]
    Other {
        /// Its VMID.
        vmid: Vmid,
        /// The pool that would be served.
        pool: String,
        /// Difference between the guest and the template that is wanted.
        reason: String,
    },
}

/// A template that was found right is not looked at again for this long.
const BELIEVED: SignedDuration = SignedDuration::from_secs(20);

/// When each template was last found to be what its pool is made from. Belongs to one configuration.
#[derive(Debug, Default)]
pub(crate) struct TemplateChecks(Mutex<BTreeMap<(PoolName, Vmid), Timestamp>>);

impl TemplateChecks {
    fn is_believed(&self, pool: &PoolName, vmid: Vmid, now: Timestamp) -> bool {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&(pool.clone(), vmid)).is_some_and(|found| now.duration_since(*found) < BELIEVED)
    }

    fn remember(&self, pool: &PoolName, vmid: Vmid, asked_at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((pool.clone(), vmid), asked_at);
    }
}

impl Executor {
    /// Checks that the guest to be cloned for a pool is, as of the last seconds, a finished version of the pool's family.
    pub(super) async fn check_template(&self, pool: &RunnerPool, vmid: Vmid) -> Result<(), WrongTemplate> {
        let asked_at = self.clock.now();
        if self.templates.is_believed(&pool.name, vmid, asked_at) {
            return Ok(());
        }
        self.look_at_template(pool, vmid).await?;
        self.templates.remember(&pool.name, vmid, asked_at);
        Ok(())
    }

    async fn look_at_template(&self, pool: &RunnerPool, vmid: Vmid) -> Result<(), WrongTemplate> {
        let wanted = TemplateSource { vmid, ..pool.template.clone() };
        let config = self.pve.qemu(&wanted.node, vmid).config().await;
        let config = config.map_err(|source| WrongTemplate::Unreadable { vmid, node: wanted.node.clone(), source })?;
        let fits = fits(&wanted, &self.config.installation, &config);
        fits.map_err(|reason| WrongTemplate::Other { vmid, pool: pool.name.to_string(), reason })
    }
}

/// The error says what it is instead.
fn fits(wanted: &TemplateSource, installation: &Installation, config: &Config) -> Result<(), String> {
    let family = &wanted.family;
    if !config.is_template() {
        return Err("it is not a template".to_owned());
    }
    let name = config.get("name").unwrap_or_default();
    if wanted.by_name {
        return if name == family { Ok(()) } else { Err(format!("its name is \"{name}\", not \"{family}\"")) };
    }
    let marker = Marker::find(config.description()).map_err(|error| format!("its marker cannot be read ({error})"))?;
    let Some(marker) = marker else {
        // Made by hand: then its name has to say what it is.
        let unknown =
            || format!("it carries no marker of the template family \"{family}\", and its name is \"{name}\"");
        return if name == family { Ok(()) } else { Err(unknown()) };
    };
    let theirs = marker.family.as_deref().unwrap_or_default();
    match marker {
        Marker { kind, .. } if kind != Kind::Template => Err(format!("its marker says that it is a {kind}")),
        Marker { vmid, .. } if vmid != wanted.vmid => Err(format!("it is a copy of template {vmid}")),
        Marker { installation: other, .. } if other != *installation => {
            Err(format!("it belongs to the installation \"{other}\", not to \"{installation}\""))
        }
        _ if theirs != family => Err(format!("it is of the template family \"{theirs}\", not of \"{family}\"")),
        Marker { build: Some(Build::Ready | Build::Retired), .. } => Ok(()),
        _ => Err(format!("this version of \"{family}\" is not finished")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn wanted(by_name: bool) -> TemplateSource {
        TemplateSource {
            family: "ubuntu-2204".into(),
            vmid: Vmid::new(9000).unwrap(),
            node: "pve1".parse().unwrap(),
            by_name,
        }
    }

    fn refusal(wanted: &TemplateSource, options: &[(&str, &str)]) -> Option<String> {
        let options: BTreeMap<String, String> =
            options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config: Config = serde_json::from_value(serde_json::json!(options)).unwrap();
        fits(wanted, &"lab".parse().unwrap(), &config).err()
    }

    fn marked(changed: &str, by: &str) -> Option<String> {
        let marker = r#"pxci:v1 {"installation":"lab","owner":"provider","kind":"template","vmid":9000,"nonce":"aaaaaa","family":"ubuntu-2204","build":"ready"}"#;
        let marker = marker.replace(changed, by);
        refusal(&wanted(false), &[("template", "1"), ("description", &marker)])
    }

    #[test]
    fn only_a_finished_version_of_the_family_is_cloned() {
        assert_eq!(marked("", ""), None);
        assert_eq!(marked("ready", "retired"), None);
        let refused = |changed: &str, by: &str| marked(changed, by).unwrap_or_default();
        assert_eq!(refused("ready", "building"), "this version of \"ubuntu-2204\" is not finished");
        assert_eq!(refused("\"template\"", "\"runner\""), "its marker says that it is a runner");
        assert_eq!(refused("9000", "9001"), "it is a copy of template 9001");
        assert_eq!(refused("lab", "home"), "it belongs to the installation \"home\", not to \"lab\"");
        assert_eq!(refused("ubuntu", "debian"), "it is of the template family \"debian-2204\", not of \"ubuntu-2204\"");
        assert!(refused("\"nonce\":\"aaaaaa\",", "").starts_with("its marker cannot be read"));
    }

    #[test]
    fn a_vm_is_refused_and_a_template_without_a_marker_is_known_by_its_name() {
        assert_eq!(refusal(&wanted(false), &[("template", "1"), ("name", "ubuntu-2204")]), None);
        let plain = refusal(&wanted(false), &[("template", "1"), ("name", "debian")]).unwrap();
        assert_eq!(plain, "it carries no marker of the template family \"ubuntu-2204\", and its name is \"debian\"");
        assert_eq!(refusal(&wanted(false), &[("name", "ubuntu-2204")]).as_deref(), Some("it is not a template"));
        assert_eq!(refusal(&wanted(true), &[("name", "ubuntu-2204")]).as_deref(), Some("it is not a template"));
    }

    #[test]
    fn one_that_was_chosen_by_its_name_is_known_by_nothing_else() {
        assert_eq!(refusal(&wanted(true), &[("template", "1"), ("name", "ubuntu-2204")]), None);
        let other = refusal(&wanted(true), &[("template", "1"), ("name", "other")]);
        assert_eq!(other.as_deref(), Some("its name is \"other\", not \"ubuntu-2204\""));
    }
}
