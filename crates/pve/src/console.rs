//! The console of a container, the only connection to it over the API.
//!
//! `termproxy` returns a ticket. `vncwebsocket` is a websocket on the same port, with the same trust and token. Input
//! is framed as `0:<bytes>:<data>`. Output is the bytes that the terminal shows. With `cmode=shell`, the program at the
//! other end is root's login shell in the container.

use std::{collections::VecDeque, error::Error as StdError, io, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use ownership::Vmid;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::{
    net::TcpStream,
    time::{Instant, interval_at, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{ClientRequestBuilder, Error as SocketError, Message, error::ProtocolError, http::Uri},
};

use crate::{
    call::{Call, Parameters, segment},
    client::Client,
    error::Error,
    lenient,
    lxc::Lxc,
    trust::find_refused,
};

/// Largest input in one frame, in bytes. The proxy loses a message of several frames, and refuses frames above 128 KiB.
const LARGEST_INPUT: usize = 32 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Longest time for the connection. PVE's ticket is valid for ten seconds.
const CONNECT: Duration = Duration::from_secs(10);

/// An open console. The program at the other end continues to run if it is dropped.
pub struct Console {
    vmid: Vmid,
    socket: WebSocketStream<TlsStream<TcpStream>>,
    received: VecDeque<Bytes>,
    keep_alive: tokio::time::Interval,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Console").field("vmid", &self.vmid).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Ticket {
    user: String,
    #[serde(deserialize_with = "secret")]
    ticket: SecretString,
    #[serde(deserialize_with = "lenient::text")]
    port: String,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(Into::into)
}

/// Opens the console of a running container. All open consoles share one terminal.
///
/// # Errors
/// [`Error::Refused`] from the ticket, [`Error::Console`] from the websocket. Needs `VM.Console`.
pub async fn connect(container: &Lxc) -> Result<Console, Error> {
    let ticket: Ticket =
        container.client().call(Call::post(container.path("/termproxy"), &Parameters::default())).await?;
    let vmid = container.vmid();
    let opened = timeout(CONNECT, open(container, &ticket)).await;
    let (socket, received) = opened.map_err(|elapsed| failed(vmid, "waiting for it to open", elapsed))??;
    let keep_alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    Ok(Console { vmid, socket, received, keep_alive })
}

async fn open(
    container: &Lxc,
    ticket: &Ticket,
) -> Result<(WebSocketStream<TlsStream<TcpStream>>, VecDeque<Bytes>), Error> {
    let (client, vmid) = (container.client(), container.vmid());
    let stream = connect_tls(client, vmid).await?;
    let query = format!("port={}&vncticket={}", segment(&ticket.port), segment_strict(ticket.ticket.expose_secret()));
    let uri: Uri = client
        .endpoint()
        .join(&container.path("/vncwebsocket"), &query)
        .replacen("https", "wss", 1)
        .parse()
        .map_err(|error| failed(vmid, "writing its address", error))?;
    let request = ClientRequestBuilder::new(uri)
        .with_header("Authorization", client.token().header().expose_secret())
        .with_sub_protocol("binary");
    let (mut socket, _) =
        client_async(request, stream).await.map_err(|error| failed(vmid, "opening the websocket", quiet(error)))?;
    let greeting = format!("{}:{}\n", ticket.user, ticket.ticket.expose_secret());
    socket
        .send(Message::binary(greeting.into_bytes()))
        .await
        .map_err(|error| failed(vmid, "sending the ticket", quiet(error)))?;
    let rest = read_ok(vmid, &mut socket).await?;
    Ok((socket, rest))
}

/// Percent-encodes everything except letters and digits, because tickets are base64 with colons.
fn segment_strict(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn connect_tls(client: &Client, vmid: Vmid) -> Result<TlsStream<TcpStream>, Error> {
    let endpoint = client.endpoint();
    let name = ServerName::try_from(endpoint.host().to_owned())
        .map_err(|error| failed(vmid, "reading the endpoint's name", error))?;
    let unreachable = |source: io::Error| match find_refused(&source) {
        Some(refused) => Error::Untrusted {
            endpoint: endpoint.to_string(),
            fingerprint: refused.fingerprint,
            reason: refused.to_string(),
        },
        None => Error::Unreachable { endpoint: endpoint.to_string(), source: source.into() },
    };
    let tls = client.tls().map_err(unreachable)?;
    let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    TlsConnector::from(tls).connect(name, tcp).await.map_err(unreachable)
}

/// Waits for `OK`. Returns the rest of the same message, which belongs to the terminal.
async fn read_ok(vmid: Vmid, socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Result<VecDeque<Bytes>, Error> {
    let mut answer = Vec::new();
    while answer.len() < 2 {
        match next_data(vmid, socket).await? {
            Some(data) => answer.extend_from_slice(&data),
            None => {
                return Err(failed(vmid, "presenting the ticket", io::Error::from(io::ErrorKind::ConnectionAborted)));
            }
        }
    }
    if !answer.starts_with(b"OK") {
        return Err(failed(vmid, "presenting the ticket", io::Error::other("the answer is not OK")));
    }
    let rest = answer.split_off(2);
    Ok(if rest.is_empty() { VecDeque::new() } else { VecDeque::from([Bytes::from(rest)]) })
}

/// Returns the next bytes of the terminal, or `None` at its end, which comes without a closing frame.
async fn next_data(vmid: Vmid, socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Result<Option<Bytes>, Error> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(data))) => return Ok(Some(data)),
            Some(Ok(Message::Text(text))) => return Ok(Some(text.into())),
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(_)) => {}
            Some(Err(error)) if is_end(&error) => return Ok(None),
            Some(Err(error)) => return Err(failed(vmid, "reading from it", quiet(error))),
        }
    }
}

fn is_end(error: &SocketError) -> bool {
    match error {
        SocketError::ConnectionClosed
        | SocketError::AlreadyClosed
        | SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => true,
        SocketError::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
        _ => false,
    }
}

fn failed(vmid: Vmid, doing: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::Console { vmid, doing, source: source.into() }
}

/// Returns a websocket error without the request or response in it, which may contain the ticket.
fn quiet(error: SocketError) -> Box<dyn StdError + Send + Sync> {
    match error {
        SocketError::Http(response) => format!("the server answered {}", response.status()).into(),
        SocketError::Io(error) => error.into(),
        SocketError::Protocol(error) => error.into(),
        other => match other {
            SocketError::Url(_) | SocketError::HttpFormat(_) => "the request cannot be written".into(),
            other => other.to_string().into(),
        },
    }
}

impl Console {
    /// Sends the bytes as input. The terminal interprets some of them, and 0x1c detaches the session.
    ///
    /// # Errors
    /// [`Error::Console`] if the connection is broken.
    pub async fn send(&mut self, input: &[u8]) -> Result<(), Error> {
        for piece in input.chunks(LARGEST_INPUT) {
            let mut frame = format!("0:{}:", piece.len()).into_bytes();
            frame.extend_from_slice(piece);
            self.send_frame(frame).await?;
        }
        Ok(())
    }

    async fn send_frame(&mut self, frame: Vec<u8>) -> Result<(), Error> {
        let sent = self.socket.send(Message::binary(frame)).await;
        sent.map_err(|error| failed(self.vmid, "writing to it", quiet(error)))
    }

    /// Returns the next bytes that the terminal shows, or `None` at its end. Keeps the connection alive while it waits.
    /// Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`Error::Console`] if the connection breaks.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(data) = self.received.pop_front() {
            return Ok(Some(data));
        }
        loop {
            tokio::select! {
                data = next_data(self.vmid, &mut self.socket) => return data,
                _ = self.keep_alive.tick() => self.send_frame(b"2".to_vec()).await?,
            }
        }
    }
}
