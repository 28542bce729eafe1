//! Everything that the suite must know of a provider.

use std::path::PathBuf;

use tf_provider::{Reattach, ServeError};

use crate::{Failed, Harness};

/// The API that a provider talks to. Each step gets a new one, the same for all resource types.
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

    /// Returns the objects that the provider has made and that still exist, and the missing ones that existed before.
    async fn existing(&mut self) -> Vec<String>;

    /// Returns everything in the world that others than the provider can read, by name. It must not contain secrets.
    async fn readable(&mut self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }
}
