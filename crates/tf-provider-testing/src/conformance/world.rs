//! What the suite must be told of a provider.

use std::path::PathBuf;

use tf_provider::{Reattach, ServeError};

use crate::{Failed, Harness};

/// What a provider talks to, made anew for each step: the same for all its resource types.
#[allow(async_fn_in_trait, reason = "test code that is awaited where it is called")]
pub trait World: Sized {
    /// The provider's source address, as in `example.com/me/paper`.
    const SOURCE: &'static str;

    /// The provider's program.
    fn program() -> PathBuf;

    /// The provider, served in this process for the steps that need no program; `None` where it only comes as one, which
    /// then serves all of a step's runs.
    fn in_process() -> Option<Result<Reattach, ServeError>> {
        None
    }

    /// The committed file with what `providers schema -json` says.
    fn snapshot() -> PathBuf;

    /// Begins a world in which nothing exists, and lets the provider know of it: by the environment of
    /// [`Harness::work_mut`], by files beside it.
    async fn begin(harness: &mut Harness) -> Result<Self, Failed>;

    /// The provider block.
    fn provider_block(&self) -> String;

    /// Lets everything work again.
    async fn heal(&mut self);

    /// What exists that the provider has made, and what is missing that was there before.
    async fn existing(&mut self) -> Vec<String>;

    /// What others than the provider can read of the world: by name, and what stands there. No secret may.
    async fn readable(&mut self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }
}
