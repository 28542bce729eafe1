//! The description of a provider for the suite.

use std::path::PathBuf;

use tf_provider::{Reattach, ServeError};

use crate::{Failed, Harness};

/// The API that a provider calls. All resource types use the same kind of world, and each step gets a new one.
#[allow(async_fn_in_trait, reason = "test code that is awaited where it is called")]
pub trait World: Sized {
    /// Source address of the provider, as in `example.com/me/paper`.
    const SOURCE: &'static str;

    /// Returns the path of the provider's program.
    fn program() -> PathBuf;

    /// Serves the provider in this process, for the steps that need no program; `None` if there is only a program,
    /// which then serves all runs of a step.
    fn in_process() -> Option<Result<Reattach, ServeError>> {
        None
    }

    /// Returns the path of the committed file with the output of `providers schema -json`.
    fn snapshot() -> PathBuf;

    /// Creates an empty world, and tells the provider its address, in the environment of [`Harness::work_mut`] or in
    /// files.
    async fn begin(harness: &mut Harness) -> Result<Self, Failed>;

    /// Returns the provider block.
    fn provider_block(&self) -> String;

    /// Removes all faults.
    async fn heal(&mut self);

    /// Returns the objects that the provider created and that still exist, and earlier objects that are missing.
    async fn existing(&mut self) -> Vec<String>;

    /// Returns everything in the world that others than the provider can read, by name. It must not contain secrets.
    async fn readable(&mut self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }
}
