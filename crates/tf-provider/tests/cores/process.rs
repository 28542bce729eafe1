//! The provider as a process: start, reattach, interrupt, end of the core.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::shelf::{SOURCE, Shelf, cores, example, leaves_nothing};

/// Ctrl-C reaches the whole process group. The core stops the provider, which ends early and reports the existing
/// object.
#[test]
fn an_interrupt_ends_soon_with_a_truthful_state() {
    for core in cores() {
        let shelf = Shelf::new(&core);
        shelf.configure("name = \"slow\"");
        let core = shelf.start(&["apply", "-auto-approve"]);
        let started = Instant::now();
        wait_for(&shelf.path("shelf/1.json"));
        core.interrupt().expect("signalled");
        let reported = shelf.wait(core.finish()).text();
        assert!(started.elapsed() < Duration::from_secs(40), "it took the whole minute:\n{reported}");
        assert!(reported.contains("Interrupted"), "{reported}");
        assert_eq!(shelf.actions(), serde_json::json!(["delete", "create"]), "tainted");
    }
}

fn wait_for(file: &Path) {
    wait_until(&file.display().to_string(), || file.exists());
}

/// Waits for a condition that another process fulfils.
pub(crate) fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::yield_now();
    }
}

/// The core connects to a running provider, as for debuggers.
#[test]
fn a_core_attaches_to_a_running_provider() {
    for core in cores() {
        let mut shelf = Shelf::new(&core);
        shelf.configure("name = \"first\"");
        let mut provider = Command::new(example());
        provider.env("TF_PROVIDER_REATTACH", SOURCE).env("TMPDIR", shelf.path(""));
        let mut provider = provider.stdout(Stdio::piped()).spawn().expect("runs");
        let line = first_line(&mut provider);
        let attach = line.strip_prefix("TF_REATTACH_PROVIDERS='").and_then(|line| line.strip_suffix('\''));
        shelf.set("TF_REATTACH_PROVIDERS", attach.expect("shell line"));
        for arguments in [&["apply", "-auto-approve"][..], &["plan", "-detailed-exitcode"]] {
            shelf.succeed(arguments);
        }
        let pid = rustix::process::Pid::from_child(&provider);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
        assert!(provider.wait().expect("ends").success());
        leaves_nothing(&shelf);
    }
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("line");
    line.trim_end().to_owned()
}

/// Value of the magic cookie that cores set.
const COOKIE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

#[test]
fn the_provider_ends_when_the_core_is_killed() {
    let directory = tempfile::tempdir().expect("directory");
    // A shell replaces the core. If it is killed, it cannot stop the provider.
    let mut core = Command::new("sh");
    core.args(["-c", "\"$0\" & wait"]).arg(example()).stdout(Stdio::piped());
    core.env("TF_PLUGIN_MAGIC_COOKIE", COOKIE).env("PLUGIN_PROTOCOL_VERSIONS", "5,6");
    core.env("PLUGIN_UNIX_SOCKET_DIR", directory.path());
    let mut core = core.spawn().expect("runs");
    let line = first_line(&mut core);
    let fields: Vec<_> = line.split('|').collect();
    assert_eq!((fields[0], fields[1], fields[2], fields[4], fields[5]), ("1", "6", "unix", "grpc", ""));
    let socket = PathBuf::from(fields[3]);
    assert!(socket.starts_with(directory.path()) && socket.exists());
    core.kill().expect("killed");
    core.wait().expect("ends");
    let deadline = Instant::now() + Duration::from_secs(30);
    while socket.parent().expect("directory").exists() {
        assert!(Instant::now() < deadline, "the provider lives on");
        std::thread::yield_now();
    }
}

/// Returns the message of a provider that refuses to start in this environment.
fn refusal(environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(example());
    command.env_remove("TF_PLUGIN_MAGIC_COOKIE").env_remove("PLUGIN_CLIENT_CERT");
    let output = command.envs(environment.iter().copied()).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "a core would take it for the handshake");
    reported(&output).trim_end().to_owned()
}

#[test]
fn another_protocol_is_refused_with_the_needed_versions() {
    for (offered, named) in [("4,5", "4,5"), ("", "none"), ("six", "six")] {
        assert_eq!(
            refusal(&[("TF_PLUGIN_MAGIC_COOKIE", COOKIE), ("PLUGIN_PROTOCOL_VERSIONS", offered)]),
            format!(
                "This provider supports plugin protocol 6 only, which needs OpenTofu 1.6 or Terraform 1.0 or later. The core \
                 offered: {named}"
            )
        );
    }
}

#[test]
fn an_invalid_client_certificate_is_refused() {
    let environment =
        [("TF_PLUGIN_MAGIC_COOKIE", COOKIE), ("PLUGIN_PROTOCOL_VERSIONS", "6"), ("PLUGIN_CLIENT_CERT", "no PEM")];
    assert_eq!(
        refusal(&environment),
        "unable to set up mutual TLS: the core's certificate in PLUGIN_CLIENT_CERT is not PEM"
    );
}

/// The terminal sends the interrupt to the core as well, which decides.
#[test]
fn an_interrupt_alone_does_not_end_the_provider() {
    let directory = tempfile::tempdir().expect("directory");
    let mut command = Command::new(example());
    command.env("TF_PLUGIN_MAGIC_COOKIE", COOKIE).env("PLUGIN_PROTOCOL_VERSIONS", "6").env_remove("PLUGIN_CLIENT_CERT");
    command.env("PLUGIN_UNIX_SOCKET_DIR", directory.path()).stdout(Stdio::piped());
    let mut provider = command.spawn().expect("runs");
    let line = first_line(&mut provider);
    let socket = PathBuf::from(line.split('|').nth(3).expect("address"));
    let pid = rustix::process::Pid::from_child(&provider);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
    assert!(speaks_http2(&socket), "no answer after the interrupt");
    assert!(provider.try_wait().expect("looked at").is_none(), "it ended");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    assert!(provider.wait().expect("ends").success());
}

/// Sends preface, empty settings and a ping, and returns true if settings and the acknowledged ping arrive.
fn speaks_http2(socket: &Path) -> bool {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("connected");
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, b'a', b'r', b'e', b'y', b'o', b'u', b'u', b'p'];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
    stream.write_all(&ping).expect("written");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(length) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..length]);
        if answer.windows(8).any(|window| window == b"areyouup") {
            return true;
        }
        if length == 0 {
            break;
        }
    }
    false
}

#[test]
fn a_start_by_hand_is_explained() {
    let output = Command::new(example()).env_remove("TF_PLUGIN_MAGIC_COOKIE").output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(reported(&output).contains("tofu init"));
}

fn reported(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
