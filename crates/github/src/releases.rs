//! Releases of GitHub's runner program, which are public.

use serde::Deserialize;

use crate::calls::Operation;
use crate::client::Client;
use crate::error::Error;
use crate::model::RunnerDownload;
use crate::permission::NONE;

#[derive(Deserialize)]
struct Release {
    assets: Vec<Asset>,
}

#[derive(Deserialize)]
struct Asset {
    name: String,
    browser_download_url: String,
    /// `sha256:` and 64 hexadecimal digits. GitHub has a digest of every file that was uploaded since 2025.
    #[serde(default)]
    digest: Option<String>,
}

impl Client {
    /// Returns the builds of the newest release of GitHub's runner program, one for each platform. Needs no token. The
    /// repository is on github.com, not on an enterprise server.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn latest_runner_release(&self) -> Result<Vec<RunnerDownload>, Error> {
        let operation = Operation::new("read the newest release of GitHub's runner program".to_owned(), NONE);
        let release: Release = self.get(&operation, "repos/actions/runner/releases/latest").await?;
        Ok(release.assets.into_iter().filter_map(Asset::download).collect())
    }
}

impl Asset {
    /// Reads a file name of the form `actions-runner-OS-ARCHITECTURE-VERSION`. Returns `None` for other files of a
    /// release.
    fn download(self) -> Option<RunnerDownload> {
        let (os, rest) = self.name.strip_prefix("actions-runner-")?.split_once('-')?;
        let (architecture, rest) = rest.split_once('-')?;
        if rest.contains('-') {
            return None;
        }
        let download = RunnerDownload {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            download_url: self.browser_download_url,
            sha256_checksum: self.digest.and_then(|digest| Some(digest.strip_prefix("sha256:")?.to_owned())),
            filename: self.name,
        };
        download.version().is_some().then_some(download)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_archives_of_the_runner_program_are_listed() {
        let asset = |name: &str| Asset { name: name.into(), browser_download_url: "u".into(), digest: None };
        let found = asset("actions-runner-osx-arm64-2.336.0.tar.gz").download().unwrap();
        assert_eq!(
            (found.os.as_str(), found.architecture.as_str(), found.version()),
            ("osx", "arm64", Some("2.336.0"))
        );
        assert!(asset("actions-runner-win-x64-2.336.0.zip").download().is_some());
        assert!(asset("actions-runner-linux-x64-2.300.0-noexternals.tar.gz").download().is_none());
        assert!(asset("checksums.txt").download().is_none());
    }
}
