//! The SSH server of all guests, inside this process, on the loopback interface.
//!
//! A connection belongs to the youngest running guest that accepts the account and the credential. Commands and file
//! transfers are programs of the guest that run as that user inside it. Only a guest with OpenSSH's server installed
//! can be reached. That server itself is never started.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Server as _, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg};
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::TcpListener;
use tokio::process::{ChildStdin, Command};
use tokio::task::AbortHandle;

use super::sandbox::Sandbox;

/// Returns the running guests, the youngest first.
pub(super) type Guests = Arc<dyn Fn() -> Vec<Arc<Sandbox>> + Send + Sync>;

/// Succeeds if the password on standard input is that of the account.
const PASSWORD: &str = r#"[ -x /usr/sbin/sshd ]
hash=$(getent shadow "$1" | cut -d: -f2)
case $hash in ''|'!'*|'*'*) exit 1 ;; esac
exec perl -e 'my $hash = shift; my $word = <STDIN> // ""; chomp $word; exit(crypt($word, $hash) eq $hash ? 0 : 1)' "$hash""#;

/// Succeeds if the account accepts the public key on standard input (type and base64).
const PUBLIC_KEY: &str = r#"[ -x /usr/sbin/sshd ]
home=$(getent passwd "$1" | cut -d: -f6)
[ -n "$home" ]
exec grep -qF -f - "$home/.ssh/authorized_keys""#;

/// Script that runs the command of a login session.
const SESSION: &str = r#"umask 022; cd "$HOME" 2>/dev/null || cd /; exec "$SHELL" -c "$1""#;

/// Path of OpenSSH's program for file transfers.
const SFTP: &str = "/usr/lib/openssh/sftp-server";

/// A listening server. It ends when this value is dropped.
#[derive(Debug)]
pub(super) struct SshServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl SshServer {
    pub(super) async fn start(guests: Guests) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let key =
            PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).map_err(io::Error::other)?;
        let config = Arc::new(Config {
            keys: vec![key],
            auth_rejection_time: Duration::from_millis(100),
            inactivity_timeout: None,
            nodelay: true,
            ..Config::default()
        });
        let task = tokio::spawn(async move {
            // The server returns only after a shutdown request or a failure of the listener.
            if let Err(error) = Door(guests).run_on_socket(config, &listener).await {
                tracing::warn!(%error, "the guests' SSH server ended");
            }
        });
        Ok(Self { address, task: task.abort_handle() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Door(Guests);

impl russh::server::Server for Door {
    type Handler = Visitor;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Visitor {
        Visitor { guests: self.0.clone(), login: None, channels: HashMap::new() }
    }
}

struct Visitor {
    guests: Guests,
    login: Option<(Arc<Sandbox>, String)>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Visitor {
    async fn log_in(&mut self, user: &str, script: &str, credential: &[u8]) -> Auth {
        for guest in (self.guests)() {
            // A guest that ends in between accepts no login.
            let accepted = guest.script(script, &[user], credential).await.is_ok_and(|output| output.status.success());
            if accepted {
                self.login = Some((guest, user.to_owned()));
                return Auth::Accept;
            }
        }
        Auth::reject()
    }

    fn run(&mut self, id: ChannelId, line: &str, session: &mut Session) -> Result<(), russh::Error> {
        let (Some((guest, user)), Some(channel)) = (&self.login, self.channels.remove(&id)) else {
            return session.channel_failure(id);
        };
        let mut command = guest.command("setpriv");
        command.args([
            "--init-groups",
            "--reset-env",
            "--reuid",
            user,
            "--regid",
            user,
            "--",
            "/bin/sh",
            "-c",
            SESSION,
            "sh",
            line,
        ]);
        session.channel_success(id)?;
        tokio::spawn(async move {
            if let Err(error) = attach(command, channel).await {
                tracing::debug!(%error, "an SSH session in a guest failed");
            }
        });
        Ok(())
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.log_in(user, PASSWORD, password.as_bytes()).await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let line = key.public_key.to_openssh().unwrap_or_default();
        let bare: Vec<&str> = line.split_whitespace().take(2).collect();
        Ok(self.log_in(user, PUBLIC_KEY, bare.join(" ").as_bytes()).await)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.run(channel, &String::from_utf8_lossy(data), session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name != "sftp" {
            return session.channel_failure(channel);
        }
        self.run(channel, SFTP, session)
    }
}

/// Connects a program in the guest to its channel until the program ends.
async fn attach(mut command: Command, channel: Channel<Msg>) -> io::Result<()> {
    let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut reader, writer) = channel.split();
    let (mut output, mut errors) = (writer.make_writer(), writer.make_writer_ext(Some(1)));
    let input = program.stdin.take();
    let (mut stdout, mut stderr) = (program.stdout.take(), program.stderr.take());
    let feed = tokio::spawn(async move { feed(&mut reader, input).await });
    let send_output = async {
        if let Some(stdout) = stdout.as_mut() {
            copy(stdout, &mut output).await?;
        }
        io::Result::Ok(())
    };
    let send_errors = async {
        if let Some(stderr) = stderr.as_mut() {
            copy(stderr, &mut errors).await?;
        }
        io::Result::Ok(())
    };
    let sent = tokio::try_join!(send_output, send_errors);
    let status = program.wait().await?;
    feed.abort();
    sent?;
    let code = status.code().and_then(|code| u32::try_from(code).ok()).unwrap_or(255);
    writer.exit_status(code).await.map_err(io::Error::other)?;
    writer.eof().await.map_err(io::Error::other)?;
    writer.close().await.map_err(io::Error::other)
}

/// Passes the client's input to the program.
async fn feed(reader: &mut russh::ChannelReadHalf, mut input: Option<ChildStdin>) {
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                // The program need not read its input.
                if let Some(pipe) = input.as_mut()
                    && pipe.write_all(&data).await.is_err()
                {
                    input = None;
                }
            }
            ChannelMsg::Eof | ChannelMsg::Close => input = None,
            _ => {}
        }
    }
}
