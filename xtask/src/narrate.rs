//! What a command tells a person while it works: one line a step, with the time since it began.

use std::time::Instant;

/// Prints lines such as `[  12.3 s] built OpenTofu`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Narrator {
    began: Instant,
}

impl Narrator {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// One step.
    pub(crate) fn say(&self, text: &str) {
        println!("[{:7.1} s] {text}", self.began.elapsed().as_secs_f32());
    }

    /// Something that belongs to the step before.
    pub(crate) fn detail(&self, text: &str) {
        for line in text.lines() {
            println!("            {line}");
        }
    }
}
