//! The server's certificate, for programs that can only be given certificates to trust.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{client::Client, error::Error, trust::find_refused};

const LINE: usize = 64;

impl Client {
    /// Returns the server's certificate in PEM, after the client has checked it by its own rule, for example by its
    /// fingerprint.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Untrusted`].
    pub async fn server_certificate(&self) -> Result<String, Error> {
        let endpoint = self.endpoint();
        let unreachable = |source: std::io::Error| match find_refused(&source) {
            Some(refused) => Error::Untrusted {
                endpoint: endpoint.to_string(),
                fingerprint: refused.fingerprint,
                reason: refused.to_string(),
            },
            None => Error::Unreachable { endpoint: endpoint.to_string(), source: source.into() },
        };
        let name = ServerName::try_from(endpoint.host().to_owned())
            .map_err(|error| unreachable(std::io::Error::other(error)))?;
        let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(unreachable)?;
        let stream =
            TlsConnector::from(self.tls().map_err(unreachable)?).connect(name, tcp).await.map_err(unreachable)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.ok_or_else(|| unreachable(std::io::Error::other("the server showed no certificate")))?;
        Ok(pem(shown))
    }
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_readers_expect() {
        let text = pem(&[7; 100]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            (lines[0], lines[1].len(), lines[lines.len() - 1]),
            ("-----BEGIN CERTIFICATE-----", LINE, "-----END CERTIFICATE-----")
        );
        assert_eq!(STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap(), [7; 100]);
    }
}
