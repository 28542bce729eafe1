//! Consoles: `termproxy`, then `vncwebsocket` with PVE's line protocol.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::open_consoles::Shell;
use crate::access::tickets;
use crate::engine::{Call, Engine};
use crate::refusal::{Body, Outcome, Refusal};
use crate::world::guest::{Guest, Kind};

/// The subject of a console.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Guest(Kind),
    Node,
}

/// `POST …/termproxy`
pub(crate) fn open(engine: &Arc<Engine>, call: &Call, of: Target) -> Outcome<Value> {
    let vmid = call.vmid();
    let (path, kind, id, privilege) = match of {
        Target::Guest(kind) => {
            engine.guest(kind, vmid, &call.node)?;
            (format!("/vms/{vmid}"), "vncproxy", vmid.to_string(), "VM.Console")
        }
        Target::Node => (format!("/nodes/{}", call.node), "vncshell", String::new(), "Sys.Console"),
    };
    let (port, waiting) = engine.consoles.listen();
    let ticket = tickets::console_ticket(engine, &call.caller, &path, port);
    let program = match of {
        Target::Guest(Kind::Lxc) => {
            format!("/usr/bin/dtach -A /var/run/dtach/vzctlconsole{vmid} -r winch -z lxc-attach --clear-env -n {vmid}")
        }
        Target::Guest(Kind::Qemu) => format!("/usr/sbin/qm terminal {vmid} -escape 0 -iface serial0"),
        Target::Node => "/bin/login".to_owned(),
    };
    let upid = engine.spawn(call, kind, &id, move |worker| async move {
        let failed = || {
            format!(
                "command '/usr/bin/termproxy {port} --path {path} --perm {privilege} --vncticket-endpoint --verify-port --ticket-fd 6 -- {program}' failed: exit code 1"
            )
        };
        let arrived = || waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let engine = worker.engine.clone();
        let came = engine.clock.until(&engine.consoles.arrived, Duration::from_secs(10), arrived).await;
        let Some(closed) = came else {
            worker.engine.consoles.take_listener(port);
            worker.log("failed waiting for client: timed out");
            return Err(failed());
        };
        worker.log("client connection: 127.0.0.1:40000");
        // Termproxy ends if a client does not show the ticket.
        let admitted = worker.engine.clock.outside(closed).await.unwrap_or(true);
        if admitted { Ok(()) } else { Err(failed()) }
    });
    Ok(json!({ "port": port.to_string(), "ticket": ticket, "upid": upid, "user": call.caller }))
}

/// `POST …/vncproxy` of a VM: like `termproxy`, with a password of eight characters.
pub(crate) fn open_vnc(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let mut opened = open(engine, call, Target::Guest(Kind::Qemu))?;
    let password: String = engine.state().uuid().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    opened["ticket"] = json!(format!("{password}:{}", opened["ticket"].as_str().unwrap_or_default()));
    opened["password"] = json!(password);
    opened["cert"] = json!("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
    Ok(opened)
}

/// Headers of the websocket handshake.
pub(crate) struct Handshake {
    pub(crate) upgrade: OnUpgrade,
    pub(crate) version: Option<String>,
    pub(crate) key: Option<String>,
}

/// Checks the ticket of `GET …/vncwebsocket`.
pub(crate) fn check_ticket(engine: &Engine, call: &Call, of: Target) -> Outcome<u16> {
    let port = call.params.number("port").and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
    let path = match of {
        Target::Guest(_) => format!("/vms/{}", call.vmid()),
        Target::Node => format!("/nodes/{}", call.node),
    };
    let ticket = call.text("vncticket").unwrap_or_default();
    if tickets::console_ticket_fits(engine, ticket, &call.caller, &path, port) {
        return Ok(port);
    }
    Err(Refusal::new(401, "permission denied - invalid PVEVNC ticket", Body::Message).held(3))
}

/// Starts the console on an upgraded connection. Returns the value of `Sec-WebSocket-Accept`.
pub(crate) fn connect(
    engine: &Arc<Engine>,
    call: &Call,
    of: Target,
    port: u16,
    handshake: Handshake,
) -> Outcome<String> {
    match handshake.version.as_deref() {
        Some("13") => {}
        other => {
            return Err(Refusal::new(
                500,
                format!("unsupported websocket-version '{}'", other.unwrap_or_default()),
                Body::Text,
            ));
        }
    }
    let Some(key) = handshake.key else { return Err(Refusal::new(500, "missing websocket-key", Body::Text)) };
    let Some(listener) = engine.consoles.take_listener(port) else {
        return Err(Refusal::new(0, "", Body::Closed).held(10));
    };
    let (done, closed) = oneshot::channel();
    *listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(closed);
    engine.clock.notify(&engine.consoles.arrived);
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let (engine, call, upgrade) = (engine.clone(), call.clone(), handshake.upgrade);
    tokio::spawn(async move {
        let admitted = match upgrade.await {
            Ok(io) => {
                let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, None).await;
                serve(&engine, &call, of, socket).await
            }
            Err(_) => true,
        };
        let _ = done.send(admitted);
    });
    Ok(accept)
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Connects a websocket to the console. Returns false if the client did not begin with its ticket.
async fn serve(engine: &Arc<Engine>, call: &Call, of: Target, mut socket: Socket) -> bool {
    let expected = format!("{}:{}\n", call.caller, call.text("vncticket").unwrap_or_default());
    let first = loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => break bytes.to_vec(),
            Some(Ok(Message::Text(text))) => break text.as_bytes().to_vec(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return true,
        }
    };
    if first != expected.as_bytes() {
        return false;
    }
    if send(&mut socket, b"OK".to_vec()).await.is_err() {
        return true;
    }
    // Modes other than `shell` connect to the getty of a running container.
    let attaches = |guest: &mut Guest| guest.run.is_none() || guest.get("cmode") == Some("shell");
    match of {
        Target::Guest(Kind::Lxc) if engine.with_guest(call.vmid(), attaches) == Some(true) => {
            container(engine, call.vmid(), socket).await
        }
        Target::Guest(Kind::Qemu) => serial(socket).await,
        Target::Guest(Kind::Lxc) | Target::Node => login(socket).await,
    }
    true
}

async fn send(socket: &mut Socket, bytes: Vec<u8>) -> Result<(), ()> {
    socket.send(Message::Binary(bytes.into())).await.map_err(|_| ())
}

async fn serial(mut socket: Socket) {
    let _ = send(&mut socket, b"starting serial terminal on interface serial0\r\n".to_vec()).await;
    while let Some(Ok(_)) = socket.next().await {}
}

async fn login(mut socket: Socket) {
    let _ = send(&mut socket, b"login: ".to_vec()).await;
    while let Some(Ok(_)) = socket.next().await {}
}

async fn container(engine: &Arc<Engine>, vmid: u32, mut socket: Socket) {
    if send(&mut socket, b"\x1b[H\x1b[J".to_vec()).await.is_err() {
        return;
    }
    let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
    let joined = if running { join(engine, vmid).await } else { None };
    let Some((shell, mut output)) = joined else {
        let text = format!(
            "lxc-attach: {vmid}: ../src/lxc/attach.c: get_attach_context: 406 Connection refused - Failed to get init pid\r\nlxc-attach: {vmid}: ../src/lxc/attach.c: lxc_attach: 1470 Connection refused - Failed to get attach context\r\n"
        );
        let _ = send(&mut socket, text.into_bytes()).await;
        let _ = send(&mut socket, b"\x1b[999H\r\n[EOF - dtach terminating]\r\n\x1b[?25h".to_vec()).await;
        return;
    };
    let input = shell.input;
    let mut parser = Parser::default();
    loop {
        tokio::select! {
            bytes = output.recv() => match bytes {
                Ok(bytes) if bytes.is_empty() => {
                    let _ = send(&mut socket, b"\x1b[999H\r\n[EOF - dtach terminating]\r\n\x1b[?25h".to_vec()).await;
                    return;
                }
                Ok(bytes) => if send(&mut socket, bytes).await.is_err() { return },
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => parser.feed(&bytes, &input),
                Some(Ok(Message::Text(text))) => parser.feed(text.as_bytes(), &input),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                _ => return,
            },
        }
    }
}

async fn join(engine: &Arc<Engine>, vmid: u32) -> Option<(Shell, broadcast::Receiver<Vec<u8>>)> {
    if let Some(shell) = engine.consoles.shells.lock().unwrap_or_else(PoisonError::into_inner).get(&vmid) {
        return Some((shell.clone(), shell.output.subscribe()));
    }
    let mut stream = engine.backend.container_console(vmid).await.ok()?;
    let (input, mut typed) = mpsc::unbounded_channel::<Vec<u8>>();
    let (output, first) = broadcast::channel(4096);
    let shell = Shell { input, output: output.clone() };
    engine.consoles.shells.lock().unwrap_or_else(PoisonError::into_inner).insert(vmid, shell.clone());
    let engine = engine.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0_u8; 32 << 10];
        loop {
            tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => { let _ = output.send(buffer[..count].to_vec()); }
                    _ => break,
                },
                bytes = typed.recv() => match bytes {
                    Some(bytes) => if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() { break },
                    None => break,
                },
            }
        }
        engine.consoles.drop_shell(vmid);
        let _ = output.send(Vec::new());
    });
    Some((shell, first))
}

/// Parser of the client's messages: `0:<length>:<data>`, `1:<columns>:<rows>:` and `2`.
#[derive(Debug, Default)]
struct Parser {
    rest: Vec<u8>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8], input: &mpsc::UnboundedSender<Vec<u8>>) {
        self.rest.extend_from_slice(bytes);
        while let Some(used) = self.step(input) {
            self.rest.drain(..used);
        }
    }

    /// Handles the first complete message and returns its length in bytes, or `None` if no message is complete.
    fn step(&self, input: &mpsc::UnboundedSender<Vec<u8>>) -> Option<usize> {
        match self.rest.first()? {
            b'0' => {
                let colon = self.rest.iter().skip(2).position(|byte| *byte == b':')? + 2;
                let length: usize = std::str::from_utf8(&self.rest[2..colon]).ok()?.parse().ok()?;
                let data = self.rest.get(colon + 1..colon + 1 + length)?;
                let _ = input.send(data.to_vec());
                Some(colon + 1 + length)
            }
            b'1' => {
                let colons: Vec<usize> =
                    self.rest.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at).take(3).collect();
                colons.get(2).map(|at| at + 1)
            }
            _ => Some(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_cut_by_its_length_and_resizes_are_skipped() {
        let (input, mut typed) = mpsc::unbounded_channel();
        let mut parser = Parser::default();
        parser.feed(b"0:3:a:b1:80:24:2", &input);
        parser.feed(b"0:2:x", &input);
        parser.feed(b"y", &input);
        assert_eq!(typed.try_recv().ok(), Some(b"a:b".to_vec()));
        assert_eq!(typed.try_recv().ok(), Some(b"xy".to_vec()));
        assert!(typed.try_recv().is_err());
    }
}
