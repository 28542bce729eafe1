//! The versions of a family, read from PVE by their markers.

use std::collections::BTreeMap;

use ownership::{Build, Installation, Kind, Marker, NodeName, Owner, Vmid, VmidRange};
use pve::{Client, Error, GuestKind};

use crate::name::FamilyName;

/// Place of a family: installation, name, node, resource pool and VMIDs.
#[derive(Debug, Clone)]
pub struct Family {
    /// Installation that owns the family.
    pub installation: Installation,
    /// Name of the family.
    pub name: FamilyName,
    /// Node of its versions.
    pub node: NodeName,
    /// Resource pool of its versions.
    pub resource_pool: String,
    /// Range of their VMIDs.
    pub range: VmidRange,
}

/// A finished or half-built version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Number within the family, from 1.
    pub number: u32,
    /// VMID.
    pub vmid: Vmid,
    /// Name of the VM at PVE.
    pub name: String,
    /// Progress of its build.
    pub build: Build,
    /// True if the VM is a template at PVE.
    pub is_template: bool,
    /// Fingerprint of its inputs.
    pub fingerprint: String,
    /// Version of GitHub's runner program in the image.
    pub runner_version: Option<String>,
    /// Time of the build, in RFC 3339.
    pub built_at: Option<String>,
}

impl Family {
    /// Returns all versions, ordered by number. Needs one request, and one more for each guest of the resource pool
    /// whose VMID is in the range.
    ///
    /// # Errors
    /// [`Error::is_pool_missing`], and errors of reading a guest.
    pub async fn versions(&self, client: &Client) -> Result<Vec<Version>, Error> {
        let members = client.pool_members(&self.resource_pool).await?;
        let mut versions = Vec::new();
        for vmid in members.iter().filter_map(|member| member.vmid).filter(|vmid| self.range.contains(*vmid)) {
            match client.qemu(&self.node, vmid).config().await {
                Ok(config) => versions.extend(self.read(vmid, &config)),
                // The guest is a container, is on another node, or no longer exists.
                Err(error) if error.is_guest_missing() => {}
                Err(error) => return Err(error),
            }
        }
        versions.sort_by_key(|version| (version.number, version.vmid));
        Ok(versions)
    }

    /// Returns the version that a guest is, or `None` if the guest is not of this family.
    fn read(&self, vmid: Vmid, config: &pve::Config) -> Option<Version> {
        let marker = Marker::find(config.description()).ok().flatten()?;
        let ours = marker.vmid == vmid
            && marker.installation == self.installation
            && marker.owner == Owner::Provider
            && marker.kind == Kind::Template
            && marker.family.as_deref() == Some(self.name.as_str());
        if !ours {
            return None;
        }
        Some(Version {
            number: marker.version.unwrap_or_default(),
            vmid,
            name: config.get("name").unwrap_or_default().to_owned(),
            build: marker.build.unwrap_or(Build::Building),
            is_template: config.is_template(),
            fingerprint: marker.fingerprint.unwrap_or_default(),
            runner_version: marker.runner_version,
            built_at: marker.built_at,
        })
    }

    /// Finds a family by its name alone. Returns the place of its newest version.
    ///
    /// # Errors
    /// Errors of the lists, and of reading a guest.
    pub async fn find(client: &Client, installation: &Installation, name: &FamilyName) -> Result<Option<Self>, Error> {
        let mut found: BTreeMap<u32, Self> = BTreeMap::new();
        for guest in client.guests().await? {
            // Tags may be missing, so only the marker identifies a version.
            let candidate = guest.kind == GuestKind::Qemu && guest.template;
            let (true, Some(resource_pool)) = (candidate, guest.pool) else { continue };
            let range = VmidRange::single(guest.vmid);
            let family =
                Self { installation: installation.clone(), name: name.clone(), node: guest.node, resource_pool, range };
            let config = client.qemu(&family.node, guest.vmid).config().await?;
            if let Some(version) = family.read(guest.vmid, &config) {
                found.insert(version.number, family);
            }
        }
        Ok(found.into_values().next_back())
    }
}

/// Returns the newest verified version with that fingerprint, which need not be built again.
#[must_use]
pub fn adoptable<'a>(versions: &'a [Version], fingerprint: &str) -> Option<&'a Version> {
    versions
        .iter()
        .rev()
        .find(|version| version.is_template && version.build != Build::Building && version.fingerprint == fingerprint)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn id(number: u32) -> Vmid {
        Vmid::new(number).unwrap()
    }

    pub(crate) fn version(number: u32, build: Build) -> Version {
        Version {
            number,
            vmid: id(9000 + number),
            name: format!("x-{number}"),
            build,
            is_template: build != Build::Building,
            fingerprint: format!("f{number}"),
            runner_version: None,
            built_at: None,
        }
    }

    fn family() -> Family {
        Family {
            installation: "lab".parse().unwrap(),
            name: "ubuntu-2204".parse().unwrap(),
            node: "pve1".parse().unwrap(),
            resource_pool: "ci".to_owned(),
            range: "9000-9049".parse().unwrap(),
        }
    }

    fn config(number: u32, edit: impl Fn(&mut Marker)) -> pve::Config {
        let mut marker =
            Marker::new("lab".parse().unwrap(), Owner::Provider, Kind::Template, id(number), "abc123".parse().unwrap());
        marker.family = Some("ubuntu-2204".to_owned());
        marker.version = Some(3);
        marker.fingerprint = Some("f3".to_owned());
        marker.build = Some(Build::Ready);
        edit(&mut marker);
        serde_json::from_value(
            serde_json::json!({"name": "n", "template": 1, "description": format!("Text.\n{marker}\n")}),
        )
        .unwrap()
    }

    #[test]
    fn a_version_is_recognised_by_its_marker() {
        let version = family().read(id(9001), &config(9001, |_| ())).unwrap();
        assert_eq!((version.number, version.build, version.is_template), (3, Build::Ready, true));
    }

    #[test]
    fn copies_and_foreign_guests_are_not_versions() {
        assert!(family().read(id(9002), &config(9001, |_| ())).is_none());
        assert!(
            family().read(id(9001), &config(9001, |marker| marker.installation = "prod".parse().unwrap())).is_none()
        );
        assert!(family().read(id(9001), &config(9001, |marker| marker.family = Some("other".to_owned()))).is_none());
        assert!(family().read(id(9001), &config(9001, |marker| marker.kind = Kind::Runner)).is_none());
        assert!(family().read(id(9001), &config(9001, |marker| marker.owner = Owner::Dispatcher)).is_none());
    }

    #[test]
    fn a_retired_version_is_adopted_and_an_unfinished_one_is_not() {
        let versions = [version(1, Build::Retired), version(2, Build::Ready), version(3, Build::Building)];
        assert_eq!(adoptable(&versions, "f1").map(|version| version.number), Some(1));
        assert_eq!(adoptable(&versions, "f2").map(|version| version.number), Some(2));
        assert_eq!(adoptable(&versions, "f3"), None);
    }
}
