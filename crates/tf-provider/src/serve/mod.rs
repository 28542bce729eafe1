//! Starts the process and serves the provider, according to go-plugin's handshake.
//!
//! One line on stdout contains the address for the core. Afterwards stdout is not used. The core authenticates with the
//! certificate that it passed in the environment, the provider with the certificate in the line. Both sides compare the
//! certificates byte for byte.

mod docs;
mod error;
pub(crate) mod handshake;
mod listen;
mod logging;
mod parent;
mod plugin_services;
mod reattach;
mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use error_chain::Chain;
use tokio_util::sync::CancellationToken;

use crate::provider::Provider;
pub use error::ServeError;
use handshake::{Handshake, Start};
use listen::Serving;
pub use reattach::Reattach;
use socket::Socket;

/// Serves the provider to the core that started this process. A provider's `main` consists of this call.
///
/// When a user starts it by hand, the program explains its purpose and fails. With `TF_PROVIDER_REATTACH` set to the
/// provider's source address, it serves until interrupted and prints the value of `TF_REATTACH_PROVIDERS` for a core,
/// for debugging. With `TF_PROVIDER_DOCS` set to `write` or `check`, it writes or checks the reference pages below the
/// current directory ([`crate::docs`]).
pub fn serve<P: Provider>(provider: P) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(mode) = docs::mode(variable) {
        return docs::run(&provider, mode);
    }
    let start = match handshake::read(variable) {
        Ok(start) => start,
        Err(refusal) => {
            // Logging is not set up yet. The core shows standard error unchanged.
            let _ = writeln!(std::io::stderr(), "{refusal}");
            return ExitCode::FAILURE;
        }
    };
    logging::install(P::NAME);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served = runtime.map_err(|error| ServeError::Process("start the runtime", error)).and_then(|runtime| {
        let served = runtime.block_on(async {
            match start {
                Start::Core(handshake) => for_core(provider, handshake).await,
                Start::Reattach(address) => for_reattach(provider, &address).await,
            }
        });
        // Lets dropped tasks run their destructors, and does not wait for blocked threads.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn for_core<P: Provider>(provider: P, handshake: Handshake) -> Result<(), ServeError> {
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone())?;
    parent::watch(shutdown.clone());
    let socket = Socket::bind(handshake.endpoint()).map_err(ServeError::Socket)?;
    let address = socket.address().map_err(ServeError::Socket)?;
    let tls = handshake.client_certificate.as_deref().map(tls::Identity::for_client).transpose()?;
    if tls.is_none() && address.network == "tcp" {
        tracing::warn!("served without TLS on a port: every user of this machine can connect");
    }
    let line = handshake::line(&address, tls.as_ref().map(tls::Identity::certificate));
    let serving = Serving { socket, acceptor: tls.map(|identity| identity.acceptor), shutdown };
    announce(&line)?;
    serving.run(provider).await
}

async fn for_reattach<P: Provider>(provider: P, address: &str) -> Result<(), ServeError> {
    let served = Reattach::start(provider)?;
    announce(&format!("TF_REATTACH_PROVIDERS='{}'", served.environment(&[address])))?;
    let interrupted = tokio::signal::ctrl_c().await;
    served.stop().await?;
    interrupted.map_err(|error| ServeError::Process("wait for an interrupt", error))
}

fn announce(line: &str) -> Result<(), ServeError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| ServeError::Process("write to stdout", error))
}

/// Ignores SIGINT, which a terminal sends to the whole process group, because the core decides and calls StopProvider.
/// Installs a handler for that, because programs that a resource starts would inherit an ignored signal.
#[cfg(unix)]
fn watch_signals(shutdown: CancellationToken) -> Result<(), ServeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let install = |kind| signal(kind).map_err(|error| ServeError::Process("watch signals", error));
    let (mut interrupt, mut terminate) = (install(SignalKind::interrupt())?, install(SignalKind::terminate())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => break,
            }
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Ignores Ctrl-C, which a console sends to all its processes, because the core decides and calls StopProvider.
#[cfg(windows)]
fn watch_signals(_: CancellationToken) -> Result<(), ServeError> {
    let mut interrupt =
        tokio::signal::windows::ctrl_c().map_err(|error| ServeError::Process("watch signals", error))?;
    tokio::spawn(async move { while interrupt.recv().await.is_some() {} });
    Ok(())
}

/// Does nothing, because the signals of other systems are unknown.
#[cfg(not(any(unix, windows)))]
fn watch_signals(_: CancellationToken) -> Result<(), ServeError> {
    Ok(())
}
