//! What go-plugin says by environment, and the line that answers it.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::socket::Address;

/// Cores set this for every provider; it only tells a plugin's start from one by hand.
pub(super) const COOKIE: (&str, &str) =
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
    /// For the unix socket.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are none"))]
    pub(crate) socket_directory: Option<PathBuf>,
    /// For systems without unix sockets.
    #[cfg_attr(unix, expect(dead_code, reason = "unix sockets are better where they are"))]
    pub(crate) ports: RangeInclusive<u16>,
}

/// Why there is nothing to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    ByHand,
    Protocol(String),
    Ports(String, String),
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
            Self::Ports(first, last) => write!(
                f,
                "PLUGIN_MIN_PORT and PLUGIN_MAX_PORT must be two ports, the smaller one first; they are {first:?} and \
                 {last:?}"
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
        ports: ports(set("PLUGIN_MIN_PORT"), set("PLUGIN_MAX_PORT"))?,
    }))
}

/// Any port where none is named.
fn ports(first: Option<String>, last: Option<String>) -> Result<RangeInclusive<u16>, Refusal> {
    let (first, last) = (first.unwrap_or_else(|| "0".to_owned()), last.unwrap_or_else(|| "0".to_owned()));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(lowest), Ok(highest)) if lowest <= highest => Ok(lowest..=highest),
        _ => Err(Refusal::Ports(first, last)),
    }
}

/// The answer: go-plugin's own version, ours, where, how, and our certificate (DER).
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
