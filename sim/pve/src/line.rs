//! The lines of PVE that are simulated, and where they differ beyond their schemas.

use serde_json::{Value, json};

/// A line of PVE releases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Line {
    /// PVE 8.4.
    Eight,
    /// PVE 9.2.
    #[default]
    Nine,
}

/// Why a line is not known.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a line of PVE that can be simulated: 8 or 9")]
pub struct UnknownLine(String);

impl std::str::FromStr for Line {
    type Err = UnknownLine;

    fn from_str(text: &str) -> Result<Self, UnknownLine> {
        match text.split('.').next() {
            Some("8") => Ok(Self::Eight),
            Some("9") => Ok(Self::Nine),
            _ => Err(UnknownLine(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Eight => "8",
            Self::Nine => "9",
        })
    }
}

/// What an administrator may, by area, as PVE's access control groups it.
struct Area {
    name: &'static str,
    /// Only `Administrator` has these.
    root: &'static [&'static str],
    admin: &'static [&'static str],
    user: &'static [&'static str],
    audit: &'static [&'static str],
}

const COMMON: [Area; 6] = [
    Area {
        name: "Sys",
        root: &["Sys.PowerMgmt", "Sys.Modify", "Sys.Incoming", "Sys.AccessNetwork"],
        admin: &["Sys.Console", "Sys.Syslog"],
        user: &[],
        audit: &["Sys.Audit"],
    },
    Area {
        name: "Datastore",
        root: &[],
        admin: &["Datastore.Allocate", "Datastore.AllocateTemplate"],
        user: &["Datastore.AllocateSpace"],
        audit: &["Datastore.Audit"],
    },
    Area { name: "SDN", root: &[], admin: &["SDN.Allocate", "SDN.Audit"], user: &["SDN.Use"], audit: &["SDN.Audit"] },
    Area {
        name: "User",
        root: &["Realm.Allocate"],
        admin: &["User.Modify", "Group.Allocate", "Realm.AllocateUser"],
        user: &[],
        audit: &[],
    },
    Area { name: "Pool", root: &[], admin: &["Pool.Allocate"], user: &["Pool.Audit"], audit: &["Pool.Audit"] },
    Area { name: "Mapping", root: &[], admin: &["Mapping.Modify"], user: &["Mapping.Use"], audit: &["Mapping.Audit"] },
];

const MACHINES_9: Area = Area {
    name: "VM",
    root: &[],
    admin: &[
        "VM.Config.Disk",
        "VM.Config.CPU",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.HWType",
        "VM.Config.Options",
        "VM.Allocate",
        "VM.Clone",
        "VM.GuestAgent.Unrestricted",
        "VM.Migrate",
        "VM.Replicate",
        "VM.Snapshot",
        "VM.Snapshot.Rollback",
    ],
    user: &[
        "VM.Config.CDROM",
        "VM.Config.Cloudinit",
        "VM.Console",
        "VM.Backup",
        "VM.GuestAgent.FileRead",
        "VM.GuestAgent.FileSystemMgmt",
        "VM.GuestAgent.FileWrite",
        "VM.PowerMgmt",
    ],
    audit: &["VM.Audit", "VM.GuestAgent.Audit"],
};

const MACHINES_8: Area = Area {
    name: "VM",
    root: &[],
    admin: &[
        "VM.Config.Disk",
        "VM.Config.CPU",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.HWType",
        "VM.Config.Options",
        "VM.Allocate",
        "VM.Clone",
        "VM.Migrate",
        "VM.Monitor",
        "VM.Snapshot",
        "VM.Snapshot.Rollback",
    ],
    user: &["VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.Backup", "VM.PowerMgmt"],
    audit: &["VM.Audit"],
};

impl Line {
    fn areas(self) -> impl Iterator<Item = &'static Area> {
        let machines = match self {
            Self::Eight => &MACHINES_8,
            Self::Nine => &MACHINES_9,
        };
        COMMON.iter().chain([machines])
    }

    /// Whether PVE knows a privilege; `Permissions.Modify` belongs to no area.
    pub(crate) fn has_privilege(self, name: &str) -> bool {
        name == "Permissions.Modify"
            || self.areas().any(|area| [area.root, area.admin, area.user, area.audit].concat().contains(&name))
    }

    /// The built-in roles with their privileges.
    pub(crate) fn roles(self) -> Vec<(String, Vec<&'static str>)> {
        let mut all = vec!["Permissions.Modify"];
        let (mut admin, mut auditor) = (Vec::new(), Vec::new());
        let mut out = Vec::new();
        for area in self.areas() {
            all.extend([area.root, area.admin, area.user, area.audit].concat());
            let granted = [area.admin, area.user, area.audit].concat();
            admin.extend(granted.iter().copied().filter(|name| *name != "Mapping.Modify"));
            auditor.extend(area.audit);
            out.push((format!("PVE{}Admin", area.name), granted));
            if !area.user.is_empty() {
                out.push((format!("PVE{}User", area.name), [area.user, area.audit].concat()));
            }
        }
        out.push(("Administrator".to_owned(), all));
        out.push(("NoAccess".to_owned(), Vec::new()));
        out.push(("PVEAdmin".to_owned(), admin));
        out.push(("PVEAuditor".to_owned(), auditor));
        out.push(("PVETemplateUser".to_owned(), vec!["VM.Clone", "VM.Audit"]));
        out
    }

    /// What `GET /version` says.
    pub(crate) fn version(self) -> Value {
        match self {
            Self::Eight => json!({ "release": "8.4", "repoid": "2606ac850d46da29", "version": "8.4.21" }),
            Self::Nine => json!({ "release": "9.2", "repoid": "14a22df35955d97d", "version": "9.2.11" }),
        }
    }

    /// Whether a container is unprivileged where its creation does not say.
    pub(crate) fn unprivileged_by_default(self) -> bool {
        self == Self::Nine
    }
}
