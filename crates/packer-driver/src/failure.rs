//! Classes of failures. Each class has its own remedy.

use std::path::PathBuf;

use crate::template::TemplateError;
use crate::version::{LEAST, Version};

/// Errors of a build.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Packer was not found.
    #[error(
        "there is no Packer program at {}; install Packer {LEAST} or later (Debian: `apt-get install packer`; or https://developer.hashicorp.com/packer/install), or name it by the attribute packer_path or the environment variable PXCI_PACKER",
        looked_for
    )]
    Missing {
        /// Paths that were searched.
        looked_for: String,
    },
    /// The program is not Packer.
    #[error("{} does not behave like Packer: {answer}", program.display())]
    NotPacker {
        /// The program.
        program: PathBuf,
        /// The beginning of its answer.
        answer: String,
    },
    /// This version of Packer is too old.
    #[error("{} is Packer {found}; {LEAST} or later is needed", program.display())]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: Version,
    },
    /// The directory is not a usable template.
    #[error("the directory is not a template that can be built")]
    Template(#[from] TemplateError),
    /// A temporary file or directory could not be made.
    #[error("cannot prepare Packer's scratch directory")]
    Scratch(#[source] std::io::Error),
    /// The program could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Packer ran and failed.
    #[error(transparent)]
    Failed(Failure),
}

/// Packer ran and did not make a template.
#[derive(Debug, thiserror::Error)]
#[error("{class}{}", detail(lines))]
pub struct Failure {
    /// Class of the failure.
    pub class: Class,
    /// The last useful lines, oldest first, without secrets.
    pub lines: Vec<String>,
    /// File names of the CD images that Packer made for this build and did not remove, as `packer123.iso`. It uploads each to
    /// Proxmox VE under the same name.
    pub cds: Vec<String>,
}

fn detail(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("; Packer said:\n  {}", lines.join("\n  "))
}

/// Class of a failure. It is found from Packer's messages, because Packer's exit code has no details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A mistake in the template or its variables. Nothing was changed.
    Config,
    /// A plugin could not be installed.
    Plugins,
    /// A request to Proxmox VE was refused or failed.
    Api,
    /// The guest never became reachable.
    Guest,
    /// A provisioner failed in the guest.
    Provisioner,
    /// Cancelled by the user.
    Cancelled,
    /// The deadline passed.
    TimedOut,
    /// Packer itself crashed or was killed.
    Crashed,
}

impl std::fmt::Display for Class {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Config => "Packer does not accept the template or its variables",
            Self::Plugins => "Packer could not install the plugins that the template requires",
            Self::Api => "a Proxmox VE request of the Packer build failed",
            Self::Guest => "the build VM never became reachable",
            Self::Provisioner => "a provisioner failed inside the build VM",
            Self::Cancelled => "the Packer build was cancelled",
            Self::TimedOut => "the Packer build took longer than allowed and was ended",
            Self::Crashed => "Packer crashed or was killed",
        })
    }
}

/// Texts that identify a class, the most specific first.
const SIGNS: &[(&str, Class)] = &[
    ("packer crash", Class::Crashed),
    ("panic: ", Class::Crashed),
    ("unexpected eof", Class::Crashed),
    ("connection is shut down", Class::Crashed),
    ("timeout waiting for ssh", Class::Guest),
    ("timeout waiting for winrm", Class::Guest),
    ("error waiting for ssh", Class::Guest),
    ("error waiting for winrm", Class::Guest),
    ("handshake failed", Class::Guest),
    ("error getting ssh address", Class::Guest),
    ("script exited with non-zero exit status", Class::Provisioner),
    ("script disconnected unexpectedly", Class::Provisioner),
    ("error uploading script", Class::Provisioner),
    ("upload failed", Class::Provisioner),
    ("error running script", Class::Provisioner),
    ("build was cancelled", Class::Cancelled),
    ("build cancelled", Class::Cancelled),
];

/// Finds the class from the errors that ended the builds (`finals`), or from all lines if there are none.
pub(crate) fn classify(started: bool, finals: &[String], lines: &[String]) -> Class {
    let texts = if finals.is_empty() { lines } else { finals };
    let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let found = SIGNS.iter().find(|(sign, _)| lower.iter().any(|text| text.contains(sign)));
    match found {
        Some((_, class)) => *class,
        None if lines.iter().any(|line| line.contains("Provisioning step had errors")) => Class::Provisioner,
        None if started => Class::Api,
        None => Class::Config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(finals: &[&str]) -> Class {
        let finals: Vec<String> = finals.iter().map(|text| (*text).to_owned()).collect();
        classify(true, &finals, &[])
    }

    /// The texts are those of the proxmox-iso builder (plugin 1.2.4 and Packer 1.6.6) and of the communicators.
    #[test]
    fn known_errors_have_their_classes() {
        assert_eq!(
            class(&["Error creating VM: 500 unable to create VM 9001 - VM 9001 already exists on node 'pve1'"]),
            Class::Api
        );
        assert_eq!(class(&["401 authentication failure"]), Class::Api);
        assert_eq!(class(&["Timeout waiting for SSH."]), Class::Guest);
        assert_eq!(
            class(&[
                "Packer experienced an authentication error when trying to connect via SSH: ssh: handshake failed: ssh: unable to authenticate"
            ]),
            Class::Guest
        );
        assert_eq!(
            class(&["Script exited with non-zero exit status: 3.Allowed exit codes are: [0]"]),
            Class::Provisioner
        );
        assert_eq!(class(&["unexpected EOF"]), Class::Crashed);
        assert_eq!(classify(false, &[], &["Error: Unset variable \"word\"".to_owned()]), Class::Config);
    }

    #[test]
    fn the_output_of_a_script_does_not_decide_the_class() {
        let lines = ["    null.x: Timeout waiting for SSH".to_owned()];
        let finals = ["Script exited with non-zero exit status: 1".to_owned()];
        assert_eq!(classify(true, &finals, &lines), Class::Provisioner);
    }
}
