//! Addresses of PVE's API, and the API token, as users write them.

use std::{fmt, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

const API_PORT: u16 = 8006;

/// Address of one PVE API server, for example `https://pve1.example:8006`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Reason why a text is not an address of a PVE API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The address is not HTTPS, which PVE needs.
    #[error("\"{given}\" is not encrypted and Proxmox VE does not answer there: write \"{suggestion}\"")]
    NotHttps {
        /// Text as the user wrote it.
        given: String,
        /// Address with HTTPS.
        suggestion: String,
    },
    /// The text is not a URL, or the URL has parts that are not allowed.
    #[error("\"{given}\" is not an address of a Proxmox VE API ({reason}): write it as \"https://host:8006\"")]
    Malformed {
        /// Text as the user wrote it, without credentials.
        given: String,
        /// The mistake.
        reason: &'static str,
    },
}

impl Endpoint {
    /// Returns the host name or IP address.
    pub(crate) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// Returns the TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(API_PORT)
    }

    /// Returns `host:port` as in a URL.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.0.host_str().unwrap_or_default(), self.port())
    }

    /// Returns the URL of an API path, which begins with a slash.
    pub(crate) fn join(&self, path: &str, query: &str) -> String {
        let separator = if query.is_empty() { "" } else { "?" };
        format!("https://{}/api2/json{path}{separator}{query}", self.authority())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "https://{}", self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Accepts the address alone, followed by `/api2/json`, or with the fragment of PVE's web interface.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        let malformed = |given: &str, reason| EndpointError::Malformed { given: given.to_owned(), reason };
        if !text.contains("://") {
            return Err(malformed(text, "the scheme is missing"));
        }
        let mut url = Url::parse(text).map_err(|_| malformed(text, "it cannot be read as a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed("https://…@…", "it contains credentials"));
        }
        match url.scheme() {
            "https" => {}
            "http" => return Err(not_https(text, &url)),
            _ => return Err(malformed(text, "its scheme is not https")),
        }
        if !matches!(url.path().trim_end_matches('/'), "" | "/api2" | "/api2/json") || url.query().is_some() {
            return Err(malformed(text, "its path is not that of the API"));
        }
        url.set_path("");
        url.set_fragment(None);
        Ok(Self(url))
    }
}

fn not_https(text: &str, url: &Url) -> EndpointError {
    let host = url.host_str().unwrap_or("host");
    let suggestion = format!("https://{host}:{}", url.port().unwrap_or(API_PORT));
    EndpointError::NotHttps { given: text.to_owned(), suggestion }
}

/// An API token: its id `user@realm!name`, and its secret.
#[derive(Debug, Clone)]
pub struct ApiToken {
    id: String,
    secret: SecretString,
}

/// Reason why a text is not an API token. It does not contain the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The id has another form.
    #[error("\"{0}\" is not an id of a Proxmox VE API token: it has the form \"user@realm!name\"")]
    Id(String),
    /// The combined form has no `=`.
    #[error("the API token does not have the form \"user@realm!name=secret\"")]
    Combined,
    /// The secret is empty, or has characters that a header cannot contain.
    #[error("the secret of the API token \"{0}\" is empty or has characters that a secret cannot have")]
    Secret(String),
}

impl ApiToken {
    /// Makes a token of its two parts, without the white space around them.
    ///
    /// # Errors
    /// [`TokenError::Id`], [`TokenError::Secret`].
    pub fn new(id: &str, secret: &SecretString) -> Result<Self, TokenError> {
        let id = id.trim();
        let valid_id = id.split_once('!').is_some_and(|(user, name)| user.contains('@') && !name.is_empty());
        if !valid_id || id.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=') {
            return Err(TokenError::Id(id.to_owned()));
        }
        let secret = secret.expose_secret().trim();
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Secret(id.to_owned()));
        }
        Ok(Self { id: id.to_owned(), secret: secret.into() })
    }

    /// Reads the combined form `user@realm!name=secret`.
    ///
    /// # Errors
    /// Those of [`ApiToken::new`], and [`TokenError::Combined`].
    pub fn parse(combined: &SecretString) -> Result<Self, TokenError> {
        let (id, secret) = combined.expose_secret().trim().split_once('=').ok_or(TokenError::Combined)?;
        Self::new(id, &secret.into())
    }

    /// Returns the id, which is not a secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the secret, for another program that acts for the same user.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Returns the value of the `Authorization` header.
    pub(crate) fn header(&self) -> SecretString {
        format!("PVEAPIToken={}={}", self.id, self.secret.expose_secret()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, EndpointError> {
        text.parse::<Endpoint>().map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn the_address_may_end_with_the_path_of_the_api() {
        for text in [
            "https://pve1:8006",
            "https://pve1:8006/",
            " https://pve1:8006/api2/json ",
            "https://pve1:8006/api2/json/",
            "https://pve1:8006/#v1:0:18",
        ] {
            assert_eq!(parse(text).unwrap(), "https://pve1:8006", "{text}");
        }
        assert_eq!(parse("https://pve.example").unwrap(), "https://pve.example:443");
        assert_eq!(parse("https://[::1]:8006").unwrap(), "https://[::1]:8006");
    }

    #[test]
    fn http_is_refused_with_the_address_for_https() {
        let message = parse("http://pve1:8006/api2/json").unwrap_err().to_string();
        assert!(message.contains("write \"https://pve1:8006\""), "{message}");
        assert!(parse("http://pve1").unwrap_err().to_string().contains("\"https://pve1:8006\""));
    }

    #[test]
    fn nonsense_is_refused_without_repeating_credentials() {
        for text in ["pve1:8006", "ftp://pve1", "https://pve1:8006/other", "https://"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(!parse("https://root:hunter2@pve1").unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn tokens_are_read_in_both_forms_and_never_printed() {
        let token = ApiToken::parse(&"ci@pve!t1=aa-bb\n".into()).unwrap();
        assert_eq!(token.id(), "ci@pve!t1");
        assert_eq!(token.header().expose_secret(), "PVEAPIToken=ci@pve!t1=aa-bb");
        assert!(!format!("{token:?}").contains("aa-bb"));
        assert_eq!(ApiToken::new("ci@pve", &"x".into()).unwrap_err(), TokenError::Id("ci@pve".into()));
        assert_eq!(ApiToken::parse(&"ci@pve!t1".into()).unwrap_err(), TokenError::Combined);
        assert_eq!(ApiToken::new("ci@pve!t1", &" ".into()).unwrap_err(), TokenError::Secret("ci@pve!t1".into()));
    }
}
