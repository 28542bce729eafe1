//! The dispatcher's console: how people look at it and how the provider talks to it.
//!
//! Two programs in one executable. [`run`] is root's login shell in the appliance, so it is what answers on the
//! container's console in Proxmox VE; it shows a status view, and becomes a line protocol when a request arrives.
//! [`Server`] is the daemon's end of the unix socket behind it.
//!
//! ```text
//! provider ── termproxy, websocket ── terminal ── console program ── unix socket ── daemon
//! ```
//!
//! The console program holds no secret and no key: it passes sealed texts on. The daemon never logs a request.

mod connection;
mod program;
mod server;
mod session;
mod terminal;
mod typed;
mod view;

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use dispatcher_api::protocol::{Answer, Request};

pub use program::{ConsoleError, run};
pub use server::{Server, ServerError};

/// Where the daemon listens for its console.
pub const SOCKET: &str = "/run/pxci/dispatcher.sock";

/// Name of the link through which the executable is the console program.
const PROGRAM: &str = "pxci-console";

/// Asks the dispatcher behind the socket to try again at once what waits because it failed.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn retry(socket: &Path) -> io::Result<()> {
    ask(socket, &Request::Retry {}).await
}

/// Asks the dispatcher behind the socket to end the quarantine of the VM of this name or VMID.
///
/// # Errors
/// When it does not answer, or no such VM is in quarantine.
pub async fn release(socket: &Path, vm: &str) -> io::Result<()> {
    ask(socket, &Request::Release { vm: vm.to_owned() }).await
}

async fn ask(socket: &Path, request: &Request) -> io::Result<()> {
    match connection::Connection::open_session(socket).await?.ask(request).await? {
        Answer::Status(_) => Ok(()),
        Answer::Refused { message, .. } => Err(io::Error::other(message)),
        _ => Err(io::Error::other("unexpected answer")),
    }
}

/// Returns true if the executable was started as the console program: by that name, or as a login shell of that name.
#[must_use]
pub fn started_as_console(argument_zero: &OsStr) -> bool {
    let name = Path::new(argument_zero).file_name().unwrap_or(argument_zero).to_string_lossy();
    name.strip_prefix('-').unwrap_or(&name) == PROGRAM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_which_program_it_is() {
        for name in ["pxci-console", "-pxci-console", "/bin/pxci-console"] {
            assert!(started_as_console(OsStr::new(name)), "{name}");
        }
        assert!(!started_as_console(OsStr::new("/bin/pxci-dispatcher")));
    }
}
