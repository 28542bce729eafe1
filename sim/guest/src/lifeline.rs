//! Processes that end with this process, for any reason.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::io::AsyncWriteExt as _;

/// Waits for a word on its standard input, and ends the group if the input ends without one, because the holder of the
/// other end has ended.
const WATCH: &str = r#"read -r word || kill -s TERM -- "-$1""#;

/// A child process in its own process group, and a watcher that ends the group when this process ends.
///
/// The watcher works even if this process is killed, because the kernel closes its end of the pipe. Child and watcher
/// have their own process groups, so an interrupt at the terminal reaches this process alone.
pub(super) struct Bound {
    child: Child,
    watcher: Child,
}

impl Bound {
    /// Starts `command`.
    ///
    /// # Errors
    /// When one of the two does not start. Nothing is left running then.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.process_group(0).spawn()?;
        let watcher = Command::new("sh")
            .args(["-c", WATCH, "sh", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watcher {
            Ok(watcher) => Ok(Self { child, watcher }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Returns the child's standard output if it is piped. Can be called once.
    pub(super) fn output(&mut self) -> Stdio {
        self.child.stdout.take().map_or_else(Stdio::null, Stdio::from)
    }

    /// Waits for the child's end.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        if let Some(mut word) = self.watcher.stdin.take() {
            word.write_all(b"ended\n")?;
        }
        self.watcher.wait()?;
        Ok(status)
    }
}

/// Kills a single process if its own standard input ends without a word.
const KILL: &str = r#"read -r word || kill -s KILL "$1""#;

/// A process that kills another one when this program dies or drops this value.
#[derive(Debug)]
pub(super) struct Watcher(tokio::process::Child);

impl Watcher {
    /// Watches the process with this number.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn over(number: u32) -> io::Result<Self> {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", KILL, "sh", &number.to_string()]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// Ends the watch of a process that has ended, because another process may get its number.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) async fn release(mut self) -> io::Result<()> {
        if let Some(mut word) = self.0.stdin.take() {
            word.write_all(b"ended\n").await?;
        }
        self.0.wait().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::Bound;

    fn start(script: &str) -> Bound {
        Bound::start(Command::new("sh").args(["-c", script]).stdout(Stdio::piped())).unwrap()
    }

    #[test]
    fn the_whole_group_ends_when_its_holder_is_dropped() {
        let mut bound = start("sleep 100000 & echo started; wait");
        let mut output = bound.child.stdout.take().unwrap();
        let mut started = [0; 8];
        output.read_exact(&mut started).unwrap();
        drop(bound);
        // The pipe ends when its last writer has ended, including the process in the background.
        let (ended, waiting) = mpsc::channel();
        std::thread::spawn(move || ended.send(output.read_to_end(&mut Vec::new())));
        assert_eq!(waiting.recv_timeout(Duration::from_secs(60)).unwrap().unwrap(), 0);
    }

    #[test]
    fn the_exit_status_of_a_child_that_ends_by_itself_is_returned() {
        assert_eq!(start("exit 3").wait().unwrap().code(), Some(3));
    }
}
