//! Finds the Packer program and asks for its version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::failure::Error;
use crate::version::{LEAST, Version};

/// A Packer program that is recent enough.
#[derive(Debug, Clone)]
pub struct Packer {
    program: PathBuf,
    version: Version,
}

impl Packer {
    /// Finds the program and asks for its version. `named` is a path, or a name to find in `search`, the value of
    /// `PATH`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotPacker`], [`Error::TooOld`].
    pub async fn locate(named: Option<&Path>, search: &OsStr) -> Result<Self, Error> {
        let program = find(named, search)?;
        let version = ask_version(&program).await?;
        if version < LEAST {
            return Err(Error::TooOld { program, found: version });
        }
        Ok(Self { program, version })
    }

    /// Returns the path of the program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns true if this version has `packer init`, which came with 1.7.
    pub(crate) fn has_init(&self) -> bool {
        self.version >= Version { major: 1, minor: 7, patch: 0 }
    }
}

fn find(named: Option<&Path>, search: &OsStr) -> Result<PathBuf, Error> {
    let name = named.unwrap_or_else(|| Path::new("packer"));
    if name.components().count() > 1 {
        let missing = || Error::Missing { looked_for: name.display().to_string() };
        // Packer runs in the directory of the template, where a relative path would name another file.
        return std::path::absolute(name).ok().filter(|path| path.is_file()).ok_or_else(missing);
    }
    std::env::split_paths(search)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Missing { looked_for: format!("`{}` on PATH", name.display()) })
}

/// Asks the program for its version. Another program may have the same name, such as cracklib's, and may wait for input
/// or print another text.
async fn ask_version(program: &Path) -> Result<Version, Error> {
    const DEADLINE: Duration = Duration::from_secs(30);
    let answer = tokio::process::Command::new(program)
        .args(["version", "-machine-readable"])
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let not_packer =
        |answer: &str| Error::NotPacker { program: program.to_owned(), answer: answer.chars().take(200).collect() };
    let output = tokio::time::timeout(DEADLINE, answer)
        .await
        .map_err(|_| not_packer("no answer to `packer version`"))?
        .map_err(|source| Error::Start { program: program.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version =
        text.lines().find_map(|line| line.split_once(",,version,")).and_then(|(_, version)| Version::parse(version));
    version.ok_or_else(|| not_packer(text.lines().next().unwrap_or("it printed nothing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let version = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(version("1.6.6"), Some("1.6.6".to_owned()));
        assert_eq!(version("v1.16.0-dev+x"), Some("1.16.0".to_owned()));
        assert_eq!(version("packer"), None);
        assert!(Version::parse("1.10.0") > Version::parse("1.9.5"));
    }

    #[tokio::test]
    async fn the_error_of_a_missing_program_names_the_package() {
        let error = Packer::locate(None, OsStr::new("/nonexistent")).await.unwrap_err();
        assert!(matches!(error, Error::Missing { .. }));
        assert!(
            error.to_string().contains("apt-get install packer") && error.to_string().contains("PXCI_PACKER"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn another_program_of_that_name_is_not_packer() {
        let error = Packer::locate(Some(Path::new("/bin/echo")), OsStr::new("")).await.unwrap_err();
        assert!(matches!(error, Error::NotPacker { .. }), "{error}");
    }
}
