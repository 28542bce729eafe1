//! What the author of a provider writes.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::diagnostic::Diagnostics;
use crate::element::Model;
use crate::erased::{DynResource, Erased};
use crate::resource::Resource;

/// The provider: its configuration block and the list of its types.
pub trait Provider: Send + Sync + 'static {
    /// Name in configurations, the prefix of all type names: `pxci`.
    const NAME: &'static str;
    /// The provider block.
    type Model: Model;
    /// What configuring gives: usually API clients.
    type Data: Send + Sync + 'static;

    /// The one list of registered types.
    fn register(&self, registry: &mut Registry<Self::Data>);

    /// Checks what the declarations cannot say. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Makes the data from the configuration. Values may be unknown: then return `None`, and resources that are
    /// planned meanwhile see an unconfigured provider.
    fn configure(
        &self,
        stop: &CancellationToken,
        config: Self::Model,
    ) -> impl Future<Output = Result<Option<Self::Data>, Diagnostics>> + Send;
}

/// Collects the provider's types.
pub struct Registry<D> {
    pub(crate) resources: Vec<Box<dyn DynResource<D>>>,
}

impl<D: Send + Sync + 'static> Registry<D> {
    pub(crate) fn new() -> Self {
        Self { resources: Vec::new() }
    }

    /// Adds a resource type.
    pub fn resource<R: Resource<Data = D>>(&mut self, resource: R) -> &mut Self {
        self.resources.push(Box::new(Erased(resource)));
        self
    }
}
