//! Cores: the programs that read configurations and call providers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Failed;

/// Variable with the programs to test with, separated as in `PATH`.
const CORES: &str = "TF_PROVIDER_CORES";

/// The product that a core is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreKind {
    /// OpenTofu.
    OpenTofu,
    /// HashiCorp's Terraform.
    Terraform,
}

/// Features that not every core has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// Write-only attributes and ephemeral variables, which are not stored in plan and state.
    EphemeralValues,
    /// Import by resource identity.
    Identity,
    /// `mock_provider` in `.tftest.hcl` files.
    MockProvider,
    /// Deprecation messages in the schema.
    DeprecationMessages,
}

impl Feature {
    /// Returns the first minor version of 1.x with the feature.
    fn since(self, kind: CoreKind) -> u32 {
        match (self, kind) {
            (Self::EphemeralValues, _) => 11,
            (Self::Identity, _) | (Self::DeprecationMessages, CoreKind::OpenTofu) => 12,
            (Self::MockProvider, CoreKind::OpenTofu) => 8,
            (Self::MockProvider, CoreKind::Terraform) => 7,
            (Self::DeprecationMessages, CoreKind::Terraform) => 15,
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EphemeralValues => "ephemeral values",
            Self::Identity => "import by identity",
            Self::MockProvider => "mocked providers",
            Self::DeprecationMessages => "deprecation messages in the schema",
        })
    }
}

/// A core. `Display` shows its name and version: `OpenTofu 1.12.6`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// Product of the core.
    pub kind: CoreKind,
    /// Path of the program.
    pub program: PathBuf,
    /// Version of the core, as in `1.12.6`.
    pub version: String,
}

impl Core {
    /// Runs a program to find out which core it is.
    ///
    /// # Errors
    /// Fails if the program cannot be started, or is neither OpenTofu nor Terraform.
    pub fn probe(program: &Path) -> Result<Self, Failed> {
        let output = Command::new(program)
            .arg("version")
            .env("CHECKPOINT_DISABLE", "1")
            .env_remove("TF_CLI_CONFIG_FILE")
            .output()
            .map_err(Failed::io(format_args!("starting {}", program.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines() {
            let (kind, version) = match line.split_once(" v") {
                Some(("OpenTofu", version)) => (CoreKind::OpenTofu, version),
                Some(("Terraform", version)) => (CoreKind::Terraform, version),
                _ => continue,
            };
            return Ok(Self { kind, program: program.to_owned(), version: version.to_owned() });
        }
        Err(Failed::new(format!("{} is neither OpenTofu nor Terraform", program.display())))
    }

    /// Returns the cores to test with: those in `TF_PROVIDER_CORES`, otherwise those of `tofu` and `terraform` that are
    /// on `PATH`.
    ///
    /// # Errors
    /// Fails if a program in the variable is not a core, or there is no core.
    pub fn all() -> Result<Vec<Self>, Failed> {
        if let Some(named) = std::env::var_os(CORES).filter(|named| !named.is_empty()) {
            return std::env::split_paths(&named).map(|program| Self::probe(&program)).collect();
        }
        let found: Vec<Self> =
            ["tofu", "terraform"].iter().filter_map(|name| Self::probe(Path::new(name)).ok()).collect();
        if found.is_empty() {
            let problem = format!("neither tofu nor terraform is on PATH; {CORES} can name programs");
            return Err(Failed::new(problem));
        }
        Ok(found)
    }

    /// Returns true if this version has the feature.
    #[must_use]
    pub fn can(&self, feature: Feature) -> bool {
        let mut numbers = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        (major, minor) >= (1, feature.since(self.kind))
    }
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::{Core, CoreKind, Feature};

    #[test]
    fn features_come_with_versions() {
        let core = |kind, version: &str| Core { kind, program: "core".into(), version: version.to_owned() };
        assert!(core(CoreKind::OpenTofu, "1.12.6").can(Feature::Identity));
        assert!(!core(CoreKind::Terraform, "1.11.4").can(Feature::Identity));
        assert!(core(CoreKind::Terraform, "1.11.4").can(Feature::EphemeralValues));
        assert!(!core(CoreKind::OpenTofu, "1.10.0").can(Feature::EphemeralValues));
        assert!(core(CoreKind::OpenTofu, "2.0.0-beta1").can(Feature::DeprecationMessages));
        assert_eq!(core(CoreKind::Terraform, "1.11.4").to_string(), "Terraform 1.11.4");
    }
}
