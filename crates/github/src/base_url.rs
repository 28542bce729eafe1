//! The address of GitHub's API: `api.github.com`, a GitHub Enterprise Server, or a data-residency tenant.

use std::fmt;

use url::{Host, Url};

/// Root of a REST API, always with a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// Reason why a text cannot be the root of GitHub's REST API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// The text is not a URL.
    #[error("\"{text}\" is not a URL; expected https://api.github.com or https://HOST/api/v3")]
    NotUrl {
        /// Text as the user wrote it.
        text: String,
    },
    /// The address is not encrypted, so the token would be sent in plain text.
    #[error("GitHub's API would get the token unencrypted at \"{given}\"; use {instead}")]
    NotEncrypted {
        /// Text as the user wrote it.
        given: String,
        /// Address with https.
        instead: String,
    },
    /// The address has a user name, a password, a query or a fragment.
    #[error("the URL of GitHub's API must not have a user name, password, query or fragment")]
    Decorated,
    /// The address is that of the web site, not of the API.
    #[error("\"{given}\" is the web site; its API is {instead}")]
    WebSite {
        /// Text as the user wrote it.
        given: String,
        /// Address of the API.
        instead: String,
    },
}

impl BaseUrl {
    /// Reads the root of an API: `https://api.github.com`, `https://HOST/api/v3` (GitHub Enterprise Server), or
    /// `https://api.TENANT.ghe.com`. Accepts plain `http://` only for this machine.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let not_url = || BaseUrlError::NotUrl { text: text.to_owned() };
        let mut url = Url::parse(text.trim()).map_err(|_| not_url())?;
        let host = url.host().ok_or_else(not_url)?.to_owned();
        let decorated = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        if decorated || url.fragment().is_some() {
            return Err(BaseUrlError::Decorated);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_this_machine(&host) => {}
            "http" => {
                let instead = text.trim().replacen("http://", "https://", 1);
                return Err(BaseUrlError::NotEncrypted { given: text.to_owned(), instead });
            }
            _ => return Err(not_url()),
        }
        if matches!(&host, Host::Domain(name) if name == "github.com" || name == "www.github.com") {
            return Err(BaseUrlError::WebSite { given: text.to_owned(), instead: "https://api.github.com".into() });
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self(url))
    }

    /// Returns true if the API is on this machine. Requests to it must not use a proxy.
    pub(crate) fn is_local(&self) -> bool {
        self.0.host().is_some_and(|host| is_this_machine(&host.to_owned()))
    }

    /// Returns the URL of a path below the root. `path` is relative and already escaped.
    pub(crate) fn join(&self, path: &str) -> Option<Url> {
        self.0.join(path).ok()
    }

    /// Returns true if `url` has the same scheme, host and port.
    pub(crate) fn same_origin(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enterprise_server_keeps_its_path() {
        let base = BaseUrl::parse("https://git.example.com/api/v3").unwrap();
        assert_eq!(base.join("orgs/acme").unwrap().as_str(), "https://git.example.com/api/v3/orgs/acme");
    }

    #[test]
    fn plain_http_is_refused_with_the_address_for_https() {
        let error = BaseUrl::parse("http://git.example.com/api/v3").unwrap_err().to_string();
        assert!(error.ends_with("use https://git.example.com/api/v3"), "{error}");
        assert!(BaseUrl::parse("http://127.0.0.1:8123").is_ok());
    }

    #[test]
    fn the_address_of_the_web_site_is_refused_with_that_of_the_api() {
        let error = BaseUrl::parse("https://github.com").unwrap_err().to_string();
        assert!(error.contains("https://api.github.com"), "{error}");
    }

    #[test]
    fn credentials_in_the_url_are_refused_without_being_repeated() {
        let error = BaseUrl::parse("https://me:hunter2@git.example.com/api/v3").unwrap_err();
        assert_eq!(error, BaseUrlError::Decorated);
        assert!(!error.to_string().contains("hunter2"));
    }
}
