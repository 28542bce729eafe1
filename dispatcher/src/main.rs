//! `pxci-dispatcher`: the daemon, and under the name `pxci-console` the console program.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use pxci_dispatcher::configuration::{Variables, from_environment, from_file};
use pxci_dispatcher::control::Control;
use pxci_dispatcher::logs::LogRing;
use pxci_dispatcher::settings::Settings;
use pxci_dispatcher::state_directory::StateDirectory;
use pxci_dispatcher::{console, recording, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, prelude::*};

/// Makes a runner VM at Proxmox VE for each queued GitHub Actions job, and destroys it afterwards.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the dispatcher. Configured by a file, else by environment variables (PROXMOX_URL, …), else over its console.
    Serve(Serve),
    /// Makes a running dispatcher try again at once what waits because it failed.
    Retry {
        /// Its control socket.
        #[arg(long, default_value = console::SOCKET)]
        socket: PathBuf,
    },
    /// Ends the quarantine of a failed VM, which is destroyed then.
    Release {
        /// Name or VMID of the VM.
        vm: String,
        /// Control socket of the dispatcher.
        #[arg(long, default_value = console::SOCKET)]
        socket: PathBuf,
    },
    /// Plays a recording of a dispatcher's inputs (flight-recorder.jsonl on its state volume) and prints the decisions.
    Replay {
        /// The recording.
        file: PathBuf,
    },
    /// Shows what a running dispatcher does.
    Console {
        /// Its control socket.
        #[arg(long, default_value = console::SOCKET)]
        socket: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Configuration file (TOML). Secrets are files of their own that it names.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Directory for what outlives a restart: configuration, secrets, ledger.
    #[arg(long, default_value = "/var/lib/pxci")]
    state: PathBuf,
    /// Control socket to offer.
    #[arg(long, default_value = console::SOCKET)]
    socket: PathBuf,
}

fn main() -> ExitCode {
    let argument_zero = std::env::args_os().next().unwrap_or_default();
    let ended = if console::started_as_console(&argument_zero) {
        open_console(PathBuf::from(console::SOCKET))
    } else {
        match Arguments::parse().command {
            Command::Serve(serve) => begin(&serve),
            Command::Retry { socket } => retry(&socket),
            Command::Release { vm, socket } => release(&socket, &vm),
            Command::Console { socket } => open_console(socket),
            Command::Replay { file } => play(&file),
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pxci-dispatcher: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the console program, for a person or for the provider.
fn open_console(socket: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(console::run(&socket))?;
    // A blocked read of the terminal must not keep the program.
    runtime.shutdown_background();
    Ok(())
}

fn retry(socket: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(console::retry(socket));
    asked.with_context(|| format!("asking the dispatcher at {}", socket.display()))?;
    println!("The dispatcher tries again.");
    Ok(())
}

fn release(socket: &Path, vm: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(console::release(socket, vm));
    asked.with_context(|| format!("asking the dispatcher at {}", socket.display()))?;
    println!("The VM is destroyed now.");
    Ok(())
}

fn play(file: &Path) -> anyhow::Result<()> {
    let is_as_recorded = recording::play(file, &mut std::io::stdout().lock())?;
    anyhow::ensure!(is_as_recorded, "this version decides otherwise than the one that made the recording");
    Ok(())
}

fn begin(serve: &Serve) -> anyhow::Result<()> {
    let logs = LogRing::default();
    let filter = EnvFilter::try_from_env("PXCI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    let to_stderr = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter(filter);
    tracing_subscriber::registry().with(logs.clone()).with(to_stderr).init();
    // Fails only when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon(serve, logs))
}

async fn daemon(serve: &Serve, logs: LogRing) -> anyhow::Result<()> {
    let state = StateDirectory::open(&serve.state)?;
    let stop = stop_on_signals()?;
    let control = control(serve, &state, logs).await?;
    let server = console::Server::bind(&serve.socket).await?;
    let serving = tokio::spawn(server.serve(control.clone(), stop.clone()));
    let ended = run(control, &state.ledger(), stop.clone()).await;
    stop.cancel();
    serving.await.context("the control socket's task failed")?;
    Ok(ended?)
}

/// Returns the configuration. A file or the environment wins over the stored configuration, which came over the console.
async fn control(serve: &Serve, state: &StateDirectory, logs: LogRing) -> anyhow::Result<Control> {
    if let Some(path) = &serve.config {
        return Ok(Control::new(Some(from_file(path)?), None, logs));
    }
    let variables = Variables::of_process();
    if variables.are_meant() {
        return Ok(Control::new(Some(from_environment(&variables).await?), None, logs));
    }
    Ok(Control::new(stored(state), Some(state.clone()), logs))
}

/// Settings that cannot be used must not keep the console, over which better ones can come, from working.
fn stored(state: &StateDirectory) -> Option<Settings> {
    match state.load() {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "waiting for a configuration over the console"
            );
            None
        }
    }
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("asked to stop"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
        stopping.cancel();
    });
    Ok(stop)
}
