//! Runs the program as a process group of its own. The group ends when this process ends, for any reason.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// The reason why this process ended the run. `None` if the program ended by itself.
    pub(crate) interrupted: Option<Interruption>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    Cancelled,
    Deadline,
}

/// Limits of a run.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Option<Instant>,
    pub(crate) grace: Duration,
    /// Directory that is removed even if this process is killed, because the variables in it are secret.
    pub(crate) scratch: PathBuf,
}

/// One line of output.
pub(crate) enum Output {
    Stdout(String),
    Stderr(String),
}

/// Runs `command` to its end and passes on its lines. If this future is dropped, the run is cancelled in the
/// background.
pub(crate) async fn run(
    command: std::process::Command,
    limits: Limits,
    mut on_line: impl FnMut(Output),
) -> std::io::Result<End> {
    let child = start(command).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let own = limits.cancel.child_token();
    let guard = own.clone().drop_guard();
    let task = tokio::spawn(supervise(child, Limits { cancel: own, ..limits }, sender));
    while let Some(line) = receiver.recv().await {
        on_line(line);
    }
    let end = task.await.map_err(std::io::Error::other)?;
    guard.disarm();
    end
}

async fn supervise(
    mut child: Child,
    limits: Limits,
    lines: tokio::sync::mpsc::UnboundedSender<Output>,
) -> std::io::Result<End> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let watchdog = group.and_then(|group| watch(group, limits.grace, &limits.scratch));
    let stdout = tokio::spawn(read_lines(child.stdout.take(), lines.clone(), Output::Stdout));
    let stderr = tokio::spawn(read_lines(child.stderr.take(), lines, Output::Stderr));

    let interrupted = tokio::select! {
        _ = child.wait() => None,
        () = limits.cancel.cancelled() => Some(Interruption::Cancelled),
        () = until(limits.deadline) => Some(Interruption::Deadline),
    };
    if interrupted.is_some()
        && let Some(process) = group
    {
        // Only the wrapper gets the signal, and passes it on. The plugins must live on to clean up.
        let _ = rustix::process::kill_process(process, Signal::TERM);
        let _ = tokio::time::timeout(limits.grace, child.wait()).await;
    }
    // The rest of the group is killed, because an orphaned core of Packer would continue the build.
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    if let Some(mut watchdog) = watchdog {
        let _ = watchdog.wait().await;
    }
    let status = child.wait().await?;
    finish(stdout).await;
    finish(stderr).await;
    Ok(End { status, interrupted })
}

/// Waits for the end of a stream, but not for long. A process that left the group may keep the pipe open for ever.
async fn finish(mut reader: tokio::task::JoinHandle<()>) {
    const DEADLINE: Duration = Duration::from_secs(5);
    if tokio::time::timeout(DEADLINE, &mut reader).await.is_err() {
        reader.abort();
    }
}

/// Starts a watchdog in the group. It holds one end of a pipe and notices if this process is killed. It then lets
/// Packer, which gets the parent-death signal, clean up, removes the temporary directory with its secrets, and kills
/// the group. Without it, children of provisioners would remain.
fn watch(group: Pid, grace: Duration, scratch: &Path) -> Option<Child> {
    const SCRIPT: &str = r#"trap "" TERM INT HUP; read -r line; n=0; while kill -0 "$1" 2>/dev/null && [ "$n" -lt "$2" ]; do sleep 1; n=$((n+1)); done; rm -rf -- "$3"; kill -KILL 0"#;
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "watchdog", &group.as_raw_nonzero().to_string(), &grace.as_secs().to_string()])
        .arg(scratch)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(group.as_raw_nonzero().get())
        .spawn()
        // A program that has ended already has no process group, so the watchdog has nothing to watch.
        .ok()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Reads to the end even if the receiver is gone, because a full pipe would block the program.
async fn read_lines<R: AsyncRead + Unpin>(
    stream: Option<R>,
    lines: tokio::sync::mpsc::UnboundedSender<Output>,
    wrap: fn(String) -> Output,
) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_until(b'\n', &mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let _ = lines.send(wrap(String::from_utf8_lossy(&buffer).trim_end_matches(['\n', '\r']).to_owned()));
            }
        }
    }
}

struct Request {
    command: Command,
    runtime: tokio::runtime::Handle,
    reply: tokio::sync::oneshot::Sender<std::io::Result<Child>>,
}

/// Starts a program from a thread that lives as long as this process. The kernel sends the parent-death signal when the
/// thread that started the child ends, and a worker of an async runtime may end earlier.
async fn start(command: std::process::Command) -> std::io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for mut request in receiver {
                let _context = request.runtime.enter();
                let _ = request.reply.send(request.command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = tokio::sync::oneshot::channel();
    let request = Request { command: prepared(command), runtime: tokio::runtime::Handle::current(), reply };
    starter.send(request).map_err(|_| std::io::Error::other("the thread that starts programs has ended"))?;
    answer.await.map_err(std::io::Error::other)?
}

fn prepared(mut command: std::process::Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let parent = rustix::process::getpid();
    #[expect(
        unsafe_code,
        reason = "there is no safe way to set the parent-death signal in the child; the closure makes two system calls and allocates nothing"
    )]
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            // The parent may have died before the call above took effect.
            if rustix::process::getppid() != Some(parent) {
                return Err(std::io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
            Ok(())
        });
    }
    Command::from(command)
}
