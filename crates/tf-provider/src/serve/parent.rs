//! A core that was killed cannot say goodbye: its end is watched.

use tokio_util::sync::CancellationToken;

/// Cancels `shutdown` when the process that started this one is gone. Where the system has no way to wait for that, the
/// closed connection and the core's own clean-up must do.
#[cfg(target_os = "linux")]
pub(crate) fn watch(shutdown: CancellationToken) {
    use rustix::process::{PidfdFlags, getppid, pidfd_open};
    use tokio::io::unix::AsyncFd;

    let Some(parent) = getppid() else { return };
    let Ok(handle) = pidfd_open(parent, PidfdFlags::NONBLOCK) else { return };
    tokio::spawn(async move {
        // Readable means ended.
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
