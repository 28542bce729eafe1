//! The daemon's unix socket: one connection is one session, one line of JSON is one request or answer.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dispatcher_api::frames::LARGEST_MESSAGE;
use dispatcher_api::protocol::{Answer, Refusal, Request};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::session::Session;
use crate::control::Control;

/// More than this many consoles at once is a mistake; further ones wait.
const MOST_CONNECTIONS: usize = 16;

/// Why the control socket cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket cannot be made at this path.
    #[error("the control socket {} cannot be made", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another dispatcher listens there.
    #[error("another dispatcher listens at {}", .0.display())]
    InUse(PathBuf),
}

/// A bound control socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket for its owner alone (mode 0600 in a directory of mode 0700 that is made if need be). Replaces
    /// the socket that a killed dispatcher left.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn bind(path: &Path) -> Result<Self, ServerError> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(ServerError::InUse(path.to_owned()));
        }
        let listener = bind_private(path).map_err(|source| ServerError::Bind { path: path.to_owned(), source })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers until the stop token is cancelled.
    pub async fn serve(self, control: Control, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((stream, _)) => { connections.spawn(converse(stream, Session::new(control.clone()))); }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a console");
                        // Out of descriptors, as a rule: leave the loop's turn to those who can give one back.
                        tokio::task::yield_now().await;
                    }
                },
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to tell if it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The directory's mode protects the socket in the moment before its own mode is set.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn converse(stream: UnixStream, session: Session) {
    let admitted = stream.peer_cred().map(|peer| admit(&Peer::of(&peer), rustix::process::geteuid().as_raw()));
    match admitted {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => return tracing::warn!("{refusal}"),
        Err(error) => return tracing::warn!(%error, "a console was refused: its user cannot be determined"),
    }
    if let Err(error) = answer_all(stream, session).await {
        tracing::debug!(%error, "a console went away");
    }
}

/// The user and the process that opened a connection.
#[derive(Debug)]
struct Peer {
    user: u32,
    process: Option<i32>,
    program: Option<String>,
}

impl Peer {
    fn of(credentials: &UCred) -> Self {
        let process = credentials.pid().filter(|process| *process > 0);
        let program = process.and_then(|process| std::fs::read_to_string(format!("/proc/{process}/comm")).ok());
        let printable = |name: String| name.trim().chars().filter(|character| !character.is_control()).collect();
        Self { user: credentials.uid(), process, program: program.map(printable) }
    }
}

/// The user number that the kernel shows for a user that this user namespace does not have.
const UNMAPPED: u32 = 65_534;

/// Admits the dispatcher's own user, and root, which could use the console anyway. Returns a text for the log if
/// another user is refused.
fn admit(peer: &Peer, own: u32) -> Result<(), String> {
    if peer.user == own || peer.user == 0 {
        return Ok(());
    }
    let process = match (peer.process, peer.program.as_deref()) {
        (Some(process), Some(program)) => format!("process {process} ({program})"),
        (Some(process), None) => format!("process {process} (which has ended)"),
        // The kernel numbers a process only for the process namespaces that it is in.
        (None, _) => "a process outside of this container".to_owned(),
    };
    let hint = match peer.user {
        UNMAPPED => {
            ", or one that this container does not have, such as the host's root: enter the container together with its user \
             namespace, as `pct enter` does"
        }
        _ => "",
    };
    Err(format!("a console was refused: {process} belongs to user {}{hint}", peer.user))
}

async fn answer_all(stream: UnixStream, mut session: Session) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = String::new();
        let most = LARGEST_MESSAGE as u64 + 1;
        if (&mut reading).take(most).read_line(&mut line).await? == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        let (answer, returned) =
            tokio::task::spawn_blocking(move || (answer_line(&mut session, &line), session)).await?;
        session = returned;
        let mut text = serde_json::to_string(&answer)?;
        text.push('\n');
        writing.write_all(text.as_bytes()).await?;
    }
}

/// The parser's message is not passed on: it can quote what was sent.
fn answer_line(session: &mut Session, line: &str) -> Answer {
    match serde_json::from_str::<Request>(line) {
        Ok(request) => session.answer(request),
        Err(error) => Answer::Refused {
            reason: Refusal::Malformed,
            message: format!("the request cannot be read (line {}, column {})", error.line(), error.column()),
            problems: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use dispatcher_api::protocol::PROTOCOL;

    use super::super::connection::Connection;
    use super::*;
    use crate::logs::LogRing;

    fn control() -> Control {
        Control::new(None, None, LogRing::default())
    }

    #[tokio::test]
    async fn the_socket_is_private_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/dispatcher.sock");
        let server = Server::bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Server::bind(&path).await, Err(ServerError::InUse(_))));
        drop(server);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_dispatcher_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dispatcher.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Server::bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn each_connection_has_its_own_session() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dispatcher.sock");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(Server::bind(&path).await.unwrap().serve(control(), stop.clone()));
        let mut first = Connection::open(&path).await.unwrap();
        let mut second = Connection::open(&path).await.unwrap();
        let hello = Request::Hello { protocol: PROTOCOL, version: "0".into() };
        let Answer::Hello { public_key: one, .. } = first.ask(&hello).await.unwrap() else { panic!() };
        assert!(matches!(
            second.ask(&Request::Status {}).await.unwrap(),
            Answer::Refused { reason: Refusal::NoSession, .. }
        ));
        let Answer::Hello { public_key: two, .. } = second.ask(&hello).await.unwrap() else { panic!() };
        assert_ne!(one, two);
        stop.cancel();
        serving.await.unwrap();
    }

    #[test]
    fn a_refused_peer_is_named_with_its_user_and_program() {
        let peer = |user| Peer { user, process: Some(7), program: Some("pxci-dispatcher".into()) };
        assert!(admit(&peer(1000), 1000).is_ok());
        assert!(admit(&peer(0), 1000).is_ok());
        let refusal = admit(&peer(1001), 1000).unwrap_err();
        assert_eq!(refusal, "a console was refused: process 7 (pxci-dispatcher) belongs to user 1001");
        assert!(admit(&peer(UNMAPPED), 0).unwrap_err().contains("the host's root"));
        let gone = Peer { process: Some(7), program: None, ..peer(1001) };
        assert!(admit(&gone, 1000).unwrap_err().contains("process 7 (which has ended)"));
        let outside = Peer { process: None, program: None, ..peer(UNMAPPED) };
        assert!(admit(&outside, 0).unwrap_err().contains("a process outside of this container belongs to user 65534"));
    }

    #[tokio::test]
    async fn a_peer_that_has_ended_is_still_known_by_its_user() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        drop(UnixStream::connect(directory.path().join("socket")).await.unwrap());
        let (stream, _) = listener.accept().await.unwrap();
        let peer = Peer::of(&stream.peer_cred().unwrap());
        assert_eq!(peer.user, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn a_malformed_request_is_not_quoted() {
        let answer = answer_line(&mut Session::new(control()), r#"{"request":"hunter2"}"#);
        let Answer::Refused { reason: Refusal::Malformed, message, .. } = answer else { panic!("{answer:?}") };
        assert!(!message.contains("hunter2"), "{message}");
    }
}
