//! The object-safe counterpart of [`DataSource`].

use futures::future::BoxFuture;

use super::panics::catch_panic;
use super::typed::{Erased, known, known_to_value, run_validation, schema_of};
use crate::basis::Basis;
use crate::context::Context;
use crate::data_source::DataSource;
use crate::diagnostic::Diagnostics;
use crate::element::Model;
use crate::schema::Schema;
use crate::timeouts::Defaults;
use crate::value::Value;

/// Any type of data source.
pub(crate) trait DynDataSource<D>: Send + Sync {
    fn type_name(&self) -> &'static str;
    fn schema(&self) -> Schema;
    fn timeout_defaults(&self) -> Defaults;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn read<'a>(&'a self, cx: &'a Context<D>, config: &'a Value) -> BoxFuture<'a, Result<Value, Diagnostics>>;
}

impl<S: DataSource> DynDataSource<S::Data> for Erased<S> {
    fn type_name(&self) -> &'static str {
        S::TYPE
    }

    fn schema(&self) -> Schema {
        schema_of::<S::Model>(0)
    }

    fn timeout_defaults(&self) -> Defaults {
        S::Model::timeout_defaults()
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        run_validation(config, |config, diagnostics| self.0.validate(config, diagnostics))
    }

    fn read<'a>(&'a self, cx: &'a Context<S::Data>, config: &'a Value) -> BoxFuture<'a, Result<Value, Diagnostics>> {
        catch_panic(async move {
            let config = known::<S::Model>(config, Basis::Plan)?;
            self.0.read(cx, config).await.map(known_to_value::<S::Model>)
        })
    }
}
