//! One number for a whole run.

use std::fmt::Debug;

use sha2::{Digest as _, Sha256};

/// Digest of everything that was recorded, in order.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    sha256: Sha256,
    lines: u64,
}

impl Digest {
    pub(crate) fn add(&mut self, line: &impl Debug) {
        self.sha256.update(format!("{line:?}\n"));
        self.lines += 1;
    }

    /// Returns the number of recorded lines, and their digest as text.
    pub(crate) fn finish(self) -> (u64, String) {
        (self.lines, hex::encode(self.sha256.finalize()))
    }
}
