//! Commands that a person types into the status view, each a word and Enter. Requests of the provider arrive in the
//! same stream.

/// Longest line in bytes that can be a command. Longer lines are frames, or unknown.
const LONGEST: usize = 80;

/// A command that a person can type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Retry at once everything that waits because it failed.
    Retry,
    /// End the quarantine of the VM of this name or VMID.
    Release(String),
}

/// The line that is being typed.
#[derive(Debug, Default)]
pub(super) struct Typed {
    line: Vec<u8>,
}

impl Typed {
    /// Takes typed bytes and returns the last command that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Command> {
        let mut command = None;
        for byte in bytes {
            if matches!(byte, b'\r' | b'\n') {
                command = self.command().or(command);
                self.line.clear();
            } else if self.line.len() < LONGEST {
                self.line.push(*byte);
            }
        }
        command
    }

    fn command(&self) -> Option<Command> {
        let line = std::str::from_utf8(&self.line).ok()?.trim();
        match line.split_once(' ') {
            None if line == "retry" => Some(Command::Retry),
            Some(("release", vm)) if !vm.trim().is_empty() => Some(Command::Release(vm.trim().to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_and_enter_is_a_command() {
        let mut typed = Typed::default();
        assert_eq!(typed.push(b"ret"), None);
        assert_eq!(typed.push(b"ry\r"), Some(Command::Retry));
        assert_eq!(typed.push(b"\n"), None);
        assert_eq!(typed.push(b"retry"), None);
    }

    #[test]
    fn a_release_names_its_vm() {
        let mut typed = Typed::default();
        assert_eq!(typed.push(b"release  9101\r"), Some(Command::Release("9101".to_owned())));
        assert_eq!(typed.push(b"release\r"), None);
        let longest = format!("release {}\r", "a".repeat(63));
        assert_eq!(typed.push(longest.as_bytes()), Some(Command::Release("a".repeat(63))), "the longest name of a VM");
    }

    #[test]
    fn a_frame_is_not_a_command() {
        let mut typed = Typed::default();
        assert_eq!(typed.push(b"~pxci1>0a1b2c3d.7.0/2:cmV0cnk=:retry\nretry, please\n"), None);
    }
}
