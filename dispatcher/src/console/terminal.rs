//! The terminal that the console program sits on.

use std::io::{self, Read as _, Write as _};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// Columns and rows where the terminal does not say.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Standard input and output, in raw mode for as long as this lives.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    /// Puts the terminal into raw mode without dropping what was typed already: a caller may have sent its first line
    /// before this program ran. Without a terminal (a pipe) there is nothing to do.
    pub(super) fn raw() -> io::Result<Self> {
        let input = io::stdin();
        if !isatty(&input) {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        Ok(Self { before: Some(before) })
    }

    /// Bytes as they come in; the channel closes at the end of input. A thread reads, because a terminal cannot be
    /// waited for otherwise without making it non-blocking for its other users too.
    pub(super) fn input() -> mpsc::Receiver<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(16);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match io::stdin().lock().read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) if sender.blocking_send(buffer[..count].to_vec()).is_err() => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        receiver
    }

    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(text.as_bytes())?;
        output.flush()
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL_SIZE,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // At the end there is nobody left to tell.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
