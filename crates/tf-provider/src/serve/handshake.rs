//! go-plugin's handshake: the environment from the core, and the line with our answer.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::socket::{Address, Endpoint};

/// Variable and value that cores set for every provider. They only distinguish a start by a core from a start by hand.
pub(super) const COOKIE: (&str, &str) =
    ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2");

/// The only protocol version that is served.
const PROTOCOL: &str = "6";

pub(crate) enum Start {
    Core(Handshake),
    Reattach(String),
}

pub(crate) struct Handshake {
    /// Certificate in PEM; `None` if the core switched TLS off.
    pub(crate) client_certificate: Option<String>,
    /// Directory for the unix socket.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no unix sockets"))]
    pub(crate) socket_directory: Option<PathBuf>,
    /// Ports for systems without unix sockets.
    #[cfg_attr(unix, expect(dead_code, reason = "unix sockets are used instead"))]
    pub(crate) ports: RangeInclusive<u16>,
}

impl Handshake {
    /// Returns the endpoint that the core asks for.
    #[cfg(unix)]
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Directory(self.socket_directory.clone())
    }

    /// Returns the endpoint that the core asks for.
    #[cfg(not(unix))]
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Ports(self.ports.clone())
    }
}

/// The reason why the program cannot serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartError {
    ByHand,
    Protocol(String),
    Ports(String, String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByHand => f.write_str(
                "This is a provider for OpenTofu and Terraform. It is not run by hand: name it in required_providers \
                 of a configuration, and `tofu init` or `terraform init` will find and start it.",
            ),
            Self::Protocol(offered) => write!(
                f,
                "This provider supports plugin protocol 6 only, which needs OpenTofu 1.6 or Terraform 1.0 or later. The core \
                 offered: {offered}"
            ),
            Self::Ports(first, last) => write!(
                f,
                "PLUGIN_MIN_PORT and PLUGIN_MAX_PORT must be two ports, the smaller one first; they are {first:?} and \
                 {last:?}"
            ),
        }
    }
}

/// Reads the environment.
pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Start, StartError> {
    if variable(COOKIE.0).as_deref() != Some(COOKIE.1) {
        return variable("TF_PROVIDER_REATTACH").map(Start::Reattach).ok_or(StartError::ByHand);
    }
    let offered = variable("PLUGIN_PROTOCOL_VERSIONS").unwrap_or_default();
    if !offered.split(',').any(|version| version.trim() == PROTOCOL) {
        return Err(StartError::Protocol(if offered.is_empty() { "none".to_owned() } else { offered }));
    }
    let set = |name| variable(name).filter(|text| !text.is_empty());
    Ok(Start::Core(Handshake {
        client_certificate: set("PLUGIN_CLIENT_CERT"),
        socket_directory: set("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
        ports: ports(set("PLUGIN_MIN_PORT"), set("PLUGIN_MAX_PORT"))?,
    }))
}

/// Returns the range of ports. Without variables, any port is allowed.
fn ports(first: Option<String>, last: Option<String>) -> Result<RangeInclusive<u16>, StartError> {
    let (first, last) = (first.unwrap_or_else(|| "0".to_owned()), last.unwrap_or_else(|| "0".to_owned()));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(lowest), Ok(highest)) if lowest <= highest => Ok(lowest..=highest),
        _ => Err(StartError::Ports(first, last)),
    }
}

/// Returns the answer: versions of go-plugin and of the protocol, address, transport, and our certificate (DER).
pub(crate) fn line(address: &Address, certificate: Option<&[u8]>) -> String {
    let certificate = certificate.map(|der| STANDARD_NO_PAD.encode(der)).unwrap_or_default();
    format!("1|{PROTOCOL}|{}|{}|grpc|{certificate}", address.network, address.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_start_by_hand_is_explained() {
        let refusal = read(with(&[])).err().expect("refused");
        assert_eq!(refusal, StartError::ByHand);
        assert!(refusal.to_string().contains("tofu init"));
        assert_eq!(read(with(&[(COOKIE.0, "other")])).err(), Some(StartError::ByHand));
    }

    #[test]
    fn only_protocol_six_is_accepted() {
        let offered = with(&[(COOKIE.0, COOKIE.1), ("PLUGIN_PROTOCOL_VERSIONS", "4,5")]);
        assert_eq!(read(offered).err(), Some(StartError::Protocol("4,5".to_owned())));
        let offered = with(&[(COOKIE.0, COOKIE.1), ("PLUGIN_PROTOCOL_VERSIONS", "5,6"), ("PLUGIN_CLIENT_CERT", "x")]);
        let Ok(Start::Core(handshake)) = read(offered) else { panic!("accepted") };
        assert_eq!(handshake.client_certificate.as_deref(), Some("x"));
    }

    #[test]
    fn the_certificate_is_encoded_without_padding() {
        let socket = Address { network: "unix", text: "/s/p".to_owned() };
        assert_eq!(line(&socket, Some(&[1])), "1|6|unix|/s/p|grpc|AQ");
        assert_eq!(line(&socket, None), "1|6|unix|/s/p|grpc|");
        let port = Address { network: "tcp", text: "127.0.0.1:10000".to_owned() };
        assert_eq!(line(&port, None), "1|6|tcp|127.0.0.1:10000|grpc|");
    }

    #[test]
    fn ports_are_a_range_or_any() {
        let range = |first: &str, last: &str| {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            ports(text(first), text(last)).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(range("", ""), Ok(0..=0));
        assert_eq!(range("10000", "25000"), Ok(10000..=25000));
        for (first, last) in [("25000", "10000"), ("x", "1"), ("1", "70000"), ("10000", "")] {
            let named = if last.is_empty() { "0" } else { last };
            assert_eq!(
                range(first, last),
                Err(format!(
                    "PLUGIN_MIN_PORT and PLUGIN_MAX_PORT must be two ports, the smaller one first; they are \
                     {first:?} and {named:?}"
                ))
            );
        }
    }
}
