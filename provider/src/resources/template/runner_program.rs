//! The release of GitHub's runner program that an image gets.

use github::{BaseUrl, Client, ClientConfig, Credential, RunnerDownload};
use tf_provider::Diagnostic;

use super::model::KnownTemplate;
use crate::diagnostics::{self, Unable as _};

/// Version that stands for the newest release.
pub(super) const LATEST: &str = "latest";
/// Name of the runner program in diagnostics.
const THING: &str = "GitHub's runner program";

/// An archive of the runner program, pinned by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunnerProgram {
    pub(super) version: String,
    pub(super) url: String,
    pub(super) sha256: String,
}

/// Returns the archive that the configuration declares, or `None` if GitHub must be asked.
pub(super) fn declared(
    version: &str,
    url: Option<&str>,
    sha256: Option<&str>,
) -> Result<Option<RunnerProgram>, Diagnostic> {
    match (url, sha256) {
        (None, _) => Ok(None),
        (Some(_), _) if version == LATEST => {
            let detail = "`runner_url` is set, but not the version of its archive. Set `runner_version`.";
            Err(diagnostics::invalid("runner_version", "The runner program's version is not known", detail))
        }
        (Some(_), None) => {
            let detail = "An archive is only used if its SHA-256 is known. Set `runner_sha256`.";
            Err(diagnostics::invalid("runner_sha256", "The runner program's digest is not known", detail))
        }
        (Some(url), Some(sha256)) => {
            Ok(Some(RunnerProgram { version: version.to_owned(), url: url.to_owned(), sha256: sha256.to_owned() }))
        }
    }
}

/// Finds the archive for Linux on x64, and its digest.
pub(super) async fn resolve(plan: &KnownTemplate) -> Result<RunnerProgram, Diagnostic> {
    let wanted = &plan.runner_version;
    if let Some(declared) = declared(wanted, plan.runner_url.as_deref(), plan.runner_sha256.as_deref())? {
        return Ok(declared);
    }
    let base_url = BaseUrl::parse(&plan.github_api_url)
        .map_err(|error| diagnostics::refused_argument("github_api_url", "GitHub's API", &error))?;
    let config = ClientConfig {
        base_url,
        credential: Credential::Anonymous,
        user_agent: concat!("terraform-provider-pxci/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let client = Client::new(config).unable("look up", THING, wanted)?;
    let released = client.latest_runner_release().await.unable("look up", THING, wanted)?;
    pick(released, wanted, plan.runner_sha256.as_deref())
}

fn pick(released: Vec<RunnerDownload>, wanted: &str, digest: Option<&str>) -> Result<RunnerProgram, Diagnostic> {
    let linux = released.into_iter().find(|download| download.os == "linux" && download.architecture == "x64");
    let linux = linux.ok_or_else(|| {
        diagnostics::impossible("find", "GitHub's runner program", "", "The newest release has no archive for Linux on x64. Set `runner_version`, `runner_url` and `runner_sha256`.")
    })?;
    let newest = linux.version().unwrap_or_default().to_owned();
    if wanted != LATEST && wanted != newest {
        let Some(digest) = digest else {
            let detail = format!(
                "GitHub's API returns the SHA-256 of the newest release only, which is {newest}. Set `runner_sha256` for {wanted}, or `runner_version = \"latest\"`."
            );
            return Err(diagnostics::invalid("runner_sha256", "The runner program's digest is not known", detail));
        };
        let url = linux.download_url.replace(&newest, wanted);
        return Ok(RunnerProgram { version: wanted.to_owned(), url, sha256: digest.to_owned() });
    }
    let sha256 = digest.map(str::to_owned).or(linux.sha256_checksum).ok_or_else(|| {
        diagnostics::invalid(
            "runner_sha256",
            "The runner program's digest is not known",
            format!("GitHub returns no digest for {newest}. Set `runner_sha256`."),
        )
    })?;
    Ok(RunnerProgram { version: newest, url: linux.download_url, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released() -> Vec<RunnerDownload> {
        let download = |os: &str| RunnerDownload {
            os: os.to_owned(),
            architecture: "x64".to_owned(),
            download_url: format!("https://host/v2.336.0/actions-runner-{os}-x64-2.336.0.tar.gz"),
            filename: format!("actions-runner-{os}-x64-2.336.0.tar.gz"),
            sha256_checksum: Some("a".repeat(64)),
        };
        vec![download("win"), download("linux")]
    }

    #[test]
    fn the_latest_release_is_pinned_with_the_digest_that_github_returns() {
        let program = pick(released(), "latest", None).unwrap();
        assert_eq!((program.version.as_str(), program.sha256), ("2.336.0", "a".repeat(64)));
        assert!(program.url.contains("linux"));
    }

    #[test]
    fn an_older_release_needs_its_own_digest() {
        let refused = pick(released(), "2.330.0", None).unwrap_err();
        assert_eq!(refused.path.to_string(), "runner_sha256");
        let program = pick(released(), "2.330.0", Some("b")).unwrap();
        assert_eq!(program.url, "https://host/v2.330.0/actions-runner-linux-x64-2.330.0.tar.gz");
    }

    #[test]
    fn an_archive_from_another_url_needs_version_and_digest() {
        let url = Some("https://mirror/r.tgz");
        assert_eq!(declared("latest", url, None).unwrap_err().path.to_string(), "runner_version");
        assert_eq!(declared("2.330.0", url, None).unwrap_err().path.to_string(), "runner_sha256");
        let program = declared("2.330.0", url, Some("c")).unwrap();
        assert_eq!(program.map(|program| program.url).as_deref(), url);
    }
}
