//! The marker: one line in a guest's description with its owner and its VMID.
//!
//! ```text
//! pxci:v1 {"installation":"lab","owner":"dispatcher","kind":"runner","vmid":9101,"nonce":"k3x9ab","template":9000,"pool":"ubuntu-2204"}
//! ```

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Installation, Nonce, PoolName, Run, Vmid};

const PREFIX: &str = "pxci:v1 ";

/// The program that may destroy the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The Terraform provider.
    Provider,
    /// The dispatcher.
    Dispatcher,
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Provider => "provider",
            Self::Dispatcher => "dispatcher",
        })
    }
}

/// Kind of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A runner VM.
    Runner,
    /// One version of a template family, or a VM on its way to become one.
    Template,
    /// A clone that verifies a template version.
    Verify,
    /// The dispatcher's container.
    Dispatcher,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Runner => "runner",
            Self::Template => "template",
            Self::Verify => "verify",
            Self::Dispatcher => "dispatcher",
        })
    }
}

/// Permission for the dispatcher to destroy a guest of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reap {
    /// The dispatcher may destroy the guest once it has finished its job and powered itself off.
    Finished,
}

/// Build state of a template version or of a dispatcher's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// The guest is being made. A template is never cloned in this state.
    Building,
    /// The template version is verified.
    Ready,
    /// The template version gets no new clones, and is destroyed once its last clone is gone.
    Retired,
}

/// The contents of the marker line. Keys are written in the order of the fields. Absent values are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Installation that made the guest.
    pub installation: Installation,
    /// Program that may destroy it.
    pub owner: Owner,
    /// Kind of the guest.
    pub kind: Kind,
    /// VMID under which it was made. A clone made by hand inherits the line, but not the VMID.
    pub vmid: Vmid,
    /// Incarnation of that VMID.
    pub nonce: Nonce,
    /// VMID of the template that it was cloned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Vmid>,
    /// Pool of runners that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Permission for the dispatcher to destroy a runner VM of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reap: Option<Reap>,
    /// Template family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Fingerprint of the inputs that the template version was built from, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Number of the template version within its family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Version of GitHub's runner program in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_version: Option<String>,
    /// Time of the template version's build, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_at: Option<String>,
    /// Build state of a template version, or of a dispatcher's container that is still being set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Volume ids of the cloud-init images that a dispatcher's pools use. Absent in markers of release 0.1.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub seed_isos: BTreeSet<String>,
    /// Start of the dispatcher that made the guest. Absent in markers of release 0.1 and of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// Reason why the marker in a description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// The description has several marker lines.
    #[error("the description has more than one pxci marker")]
    Ambiguous,
    /// The line begins like a marker but cannot be read.
    #[error("the pxci marker in the description cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Marker {
    /// Returns a marker with the keys that every guest has.
    #[must_use]
    pub fn new(installation: Installation, owner: Owner, kind: Kind, vmid: Vmid, nonce: Nonce) -> Self {
        Self {
            installation,
            owner,
            kind,
            vmid,
            nonce,
            template: None,
            pool: None,
            reap: None,
            family: None,
            fingerprint: None,
            version: None,
            runner_version: None,
            built_at: None,
            build: None,
            seed_isos: BTreeSet::new(),
            run: None,
        }
    }

    /// Finds the marker in a guest's description. Returns `None` if the description has no marker line.
    ///
    /// # Errors
    /// When a marker line cannot be read, or there are several.
    pub fn find(description: &str) -> Result<Option<Self>, MarkerError> {
        let mut lines = description.lines().filter_map(|line| line.trim().strip_prefix(PREFIX));
        let Some(json) = lines.next() else {
            return Ok(None);
        };
        if lines.next().is_some() {
            return Err(MarkerError::Ambiguous);
        }
        serde_json::from_str(json).map(Some).map_err(MarkerError::Unreadable)
    }

    /// Returns the description with this marker, which replaces its marker or is added to its end. Other lines stay.
    #[must_use]
    pub fn replace_in(&self, description: &str) -> String {
        let mut lines: Vec<&str> = description.lines().filter(|line| !line.trim().starts_with(PREFIX)).collect();
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        let marker = self.to_string();
        lines.push(&marker);
        lines.join("\n")
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(formatter, "{PREFIX}{json}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Vmid {
        Vmid::new(number).unwrap()
    }

    fn runner() -> Marker {
        let mut marker =
            Marker::new("lab".parse().unwrap(), Owner::Dispatcher, Kind::Runner, id(9101), "k3x9ab".parse().unwrap());
        marker.template = Some(id(9000));
        marker.pool = Some("ubuntu-2204".parse().unwrap());
        marker
    }

    const LINE: &str = r#"pxci:v1 {"installation":"lab","owner":"dispatcher","kind":"runner","vmid":9101,"nonce":"k3x9ab","template":9000,"pool":"ubuntu-2204"}"#;

    #[test]
    fn keys_are_written_in_the_agreed_order() {
        assert_eq!(runner().to_string(), LINE);
    }

    #[test]
    fn a_marker_is_found_among_lines_for_people() {
        let description = format!("Runner of the lab.\n{LINE}\nDo not touch.\n");
        assert_eq!(Marker::find(&description).unwrap(), Some(runner()));
    }

    #[test]
    fn a_description_without_a_marker_line_has_none() {
        assert_eq!(Marker::find("about pxci:v1 markers").unwrap(), None);
        assert_eq!(Marker::find("").unwrap(), None);
        assert_eq!(Marker::find(" qmclone temporary file").unwrap(), None);
    }

    #[test]
    fn the_seed_isos_of_a_dispatchers_pools_are_written_and_an_older_marker_has_none() {
        let mut marker =
            Marker::new("lab".parse().unwrap(), Owner::Provider, Kind::Dispatcher, id(8100), "k3x9ab".parse().unwrap());
        let older = marker.to_string();
        assert!(!older.contains("seed_isos"), "{older}");
        assert_eq!(Marker::find(&older).unwrap().unwrap().seed_isos, BTreeSet::new());
        marker.seed_isos = ["local:iso/b.iso", "local:iso/a.iso"].map(str::to_owned).into();
        let line = marker.to_string();
        assert!(line.ends_with(r#","seed_isos":["local:iso/a.iso","local:iso/b.iso"]}"#), "{line}");
        assert_eq!(Marker::find(&line).unwrap(), Some(marker));
    }

    #[test]
    fn the_run_of_the_dispatcher_is_written_and_an_older_marker_has_none() {
        assert_eq!(Marker::find(LINE).unwrap().unwrap().run, None);
        let marker = Marker { run: Some(Run { counter: 3, id: 42.into() }), ..runner() };
        let line = marker.to_string();
        assert!(line.ends_with(r#","run":{"counter":3,"id":"0000002a"}}"#), "{line}");
        assert_eq!(Marker::find(&line).unwrap(), Some(marker));
    }

    #[test]
    fn two_markers_or_a_broken_one_are_errors() {
        assert!(matches!(Marker::find(&format!("{LINE}\n{LINE}")), Err(MarkerError::Ambiguous)));
        assert!(matches!(Marker::find("pxci:v1 {\"installation\":\"lab\""), Err(MarkerError::Unreadable(_))));
        assert!(matches!(Marker::find(&LINE.replace("k3x9ab", "K")), Err(MarkerError::Unreadable(_))));
    }

    #[test]
    fn replacing_keeps_the_other_lines() {
        let mut retired = runner();
        retired.build = Some(Build::Retired);
        let text = retired.replace_in(&format!("One.\n{LINE}\nTwo.\n\n"));
        assert_eq!(text, format!("One.\nTwo.\n{retired}"));
        assert_eq!(Marker::find(&text).unwrap(), Some(retired));
    }
}
