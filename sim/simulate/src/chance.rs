//! Chance from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// The source of everything that is left to chance. A draw depends on the seed, its subject and its number alone, so draws
/// for one thing do not change those for another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the random numbers of one thing.
    pub(crate) fn of(self, subject: &str, number: u64) -> StdRng {
        let mut digest = Sha256::new();
        digest.update(self.0.to_le_bytes());
        digest.update(number.to_le_bytes());
        digest.update(subject);
        StdRng::from_seed(digest.finalize().into())
    }

    /// Returns a time between two, in milliseconds.
    pub(crate) fn milliseconds(self, subject: &str, number: u64, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.of(subject, number).random_range(from..=to))
    }

    /// Returns true with this probability.
    pub(crate) fn is_hit(self, subject: &str, number: u64, probability: f64) -> bool {
        self.of(subject, number).random_bool(probability)
    }
}
