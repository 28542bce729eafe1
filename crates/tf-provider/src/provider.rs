//! The trait of providers.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::data_source::DataSource;
use crate::diagnostic::Diagnostics;
use crate::element::Model;
use crate::ephemeral::EphemeralResource;
use crate::erased::{DynDataSource, DynEphemeral, DynFunction, DynResource, Erased, schema_of};
use crate::function::Function;
use crate::resource::Resource;
use crate::schema::Schema;

/// A provider: its configuration block and the list of its types.
pub trait Provider: Send + Sync + 'static {
    /// Name of the provider in configurations, and prefix of its type names: `pxci`.
    const NAME: &'static str;
    /// The provider block.
    type Model: Model;
    /// Data from the configuration, usually API clients.
    type Data: Send + Sync + 'static;

    /// Registers all types.
    fn register(&self, registry: &mut Registry<Self::Data>);

    /// Checks rules that the declarations cannot express. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Creates the data from the configuration. If a necessary value is unknown, returns `None`: resources are then
    /// planned with an unconfigured provider.
    fn configure(
        &self,
        stop: &CancellationToken,
        config: Self::Model,
    ) -> impl Future<Output = Result<Option<Self::Data>, Diagnostics>> + Send;
}

/// Collects the provider's types.
pub struct Registry<D> {
    pub(crate) meta: Option<Schema>,
    pub(crate) resources: Vec<Box<dyn DynResource<D>>>,
    pub(crate) data_sources: Vec<Box<dyn DynDataSource<D>>>,
    pub(crate) ephemeral_resources: Vec<Box<dyn DynEphemeral<D>>>,
    pub(crate) functions: Vec<Box<dyn DynFunction>>,
}

impl<D: Send + Sync + 'static> Registry<D> {
    pub(crate) fn new() -> Self {
        Self {
            meta: None,
            resources: Vec::new(),
            data_sources: Vec::new(),
            ephemeral_resources: Vec::new(),
            functions: Vec::new(),
        }
    }

    /// Declares the `provider_meta` block, which module authors can put into their `terraform` block.
    /// [`Call::meta`](crate::Call::meta) reads it.
    pub fn meta<M: Model>(&mut self) -> &mut Self {
        self.meta = Some(schema_of::<M>(0));
        self
    }

    /// Adds a resource type.
    pub fn resource<R: Resource<Data = D>>(&mut self, resource: R) -> &mut Self {
        self.resources.push(Box::new(Erased(resource)));
        self
    }

    /// Adds a type of data source.
    pub fn data_source<S: DataSource<Data = D>>(&mut self, data_source: S) -> &mut Self {
        self.data_sources.push(Box::new(Erased(data_source)));
        self
    }

    /// Adds a type of ephemeral resource.
    pub fn ephemeral_resource<E: EphemeralResource<Data = D>>(&mut self, ephemeral_resource: E) -> &mut Self {
        self.ephemeral_resources.push(Box::new(Erased(ephemeral_resource)));
        self
    }

    /// Adds a function.
    pub fn function<F: Function>(&mut self, function: F) -> &mut Self {
        self.functions.push(Box::new(Erased(function)));
        self
    }
}
