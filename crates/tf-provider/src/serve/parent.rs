//! Watches for the end of the core, which cannot shut the provider down if it is killed.

use tokio_util::sync::CancellationToken;

/// Cancels `shutdown` when the parent process ends. On systems without a way to wait for that, the provider relies on
/// the closed connection and the core's clean-up.
#[cfg(target_os = "linux")]
pub(crate) fn watch(shutdown: CancellationToken) {
    use rustix::process::{PidfdFlags, getppid, pidfd_open};
    use tokio::io::unix::AsyncFd;

    let Some(parent) = getppid() else { return };
    let Ok(handle) = pidfd_open(parent, PidfdFlags::NONBLOCK) else { return };
    tokio::spawn(async move {
        // The descriptor becomes readable when the process ends.
        #[expect(deprecated, reason = "sound for an owned descriptor; its successor is an unsafe function")]
        let registered = AsyncFd::with_interest(handle, tokio::io::Interest::READABLE);
        let Ok(handle) = registered else { return };
        if handle.readable().await.is_ok() {
            shutdown.cancel();
        }
    });
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn watch(_shutdown: CancellationToken) {}
