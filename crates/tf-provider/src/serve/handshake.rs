//! What go-plugin says by environment, and the line that answers it.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Cores set this for every provider; it only tells a plugin's start from one by hand.
const COOKIE: (&str, &str) =
    ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");

/// The only protocol version that is served.
const PROTOCOL: &str = "6";

pub(crate) enum Start {
    Core(Handshake),
    Reattach(String),
}

pub(crate) struct Handshake {
    /// PEM; none where the core switched TLS off.
    pub(crate) client_certificate: Option<String>,
    pub(crate) socket_directory: Option<PathBuf>,
}

/// Why there is nothing to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    ByHand,
    Protocol(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByHand => f.write_str(
                "This is a provider for OpenTofu and Terraform. It is not run by hand: name it in required_providers \
                 of a configuration, and `tofu init` or `terraform init` will find and start it.",
            ),
            Self::Protocol(offered) => write!(
                f,
                "This provider speaks plugin protocol 6 only, which needs OpenTofu 1.6 or Terraform 1.0 or later; \
                 offered were: {offered}"
            ),
        }
    }
}

/// Reads the environment.
pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Start, Refusal> {
    if variable(COOKIE.0).as_deref() != Some(COOKIE.1) {
        return variable("TF_PROVIDER_REATTACH").map(Start::Reattach).ok_or(Refusal::ByHand);
    }
    let offered = variable("PLUGIN_PROTOCOL_VERSIONS").unwrap_or_default();
    if !offered.split(',').any(|version| version.trim() == PROTOCOL) {
        return Err(Refusal::Protocol(if offered.is_empty() { "none".to_owned() } else { offered }));
    }
    let set = |name| variable(name).filter(|text| !text.is_empty());
    Ok(Start::Core(Handshake {
        client_certificate: set("PLUGIN_CLIENT_CERT"),
        socket_directory: set("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
    }))
}

/// The answer: go-plugin's own version, ours, where, how, and our certificate (DER).
pub(crate) fn line(socket: &Path, certificate: Option<&[u8]>) -> String {
    let certificate = certificate.map(|der| STANDARD_NO_PAD.encode(der)).unwrap_or_default();
    format!("1|{PROTOCOL}|unix|{}|grpc|{certificate}", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn started_by_hand_it_explains_itself() {
        let refusal = read(with(&[])).err().expect("refused");
        assert_eq!(refusal, Refusal::ByHand);
        assert!(refusal.to_string().contains("tofu init"));
        assert_eq!(read(with(&[(COOKIE.0, "other")])).err(), Some(Refusal::ByHand));
    }

    #[test]
    fn only_protocol_six_is_spoken() {
        let offered = with(&[(COOKIE.0, COOKIE.1), ("PLUGIN_PROTOCOL_VERSIONS", "4,5")]);
        assert_eq!(read(offered).err(), Some(Refusal::Protocol("4,5".to_owned())));
        let offered = with(&[(COOKIE.0, COOKIE.1), ("PLUGIN_PROTOCOL_VERSIONS", "5,6"), ("PLUGIN_CLIENT_CERT", "x")]);
        let Ok(Start::Core(handshake)) = read(offered) else { panic!("accepted") };
        assert_eq!(handshake.client_certificate.as_deref(), Some("x"));
    }

    #[test]
    fn certificate_travels_without_padding() {
        assert_eq!(line(Path::new("/s/p"), Some(&[1])), "1|6|unix|/s/p|grpc|AQ");
        assert_eq!(line(Path::new("/s/p"), None), "1|6|unix|/s/p|grpc|");
    }
}
