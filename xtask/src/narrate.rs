//! Progress of a command: one line for each step, with the time since the start.

use std::time::Instant;

/// Prints lines such as `[  12.3 s] built OpenTofu`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Narrator {
    began: Instant,
    /// True if standard output is for programs.
    aside: bool,
}

impl Narrator {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), aside: false }
    }

    /// Returns a narrator that prints to standard error, for commands whose standard output programs read.
    pub(crate) fn aside(self) -> Self {
        Self { aside: true, ..self }
    }

    /// Prints a step.
    pub(crate) fn say(&self, text: &str) {
        self.print(&format!("[{:7.1} s] {text}", self.began.elapsed().as_secs_f32()));
    }

    /// Prints details of the step before.
    pub(crate) fn detail(&self, text: &str) {
        for line in text.lines() {
            self.print(&format!("            {line}"));
        }
    }

    fn print(&self, line: &str) {
        if self.aside { eprintln!("{line}") } else { println!("{line}") }
    }
}
