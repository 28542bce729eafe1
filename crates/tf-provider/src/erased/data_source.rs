//! The twin of [`DataSource`].

use super::{Boxed, Erased, caught, known, known_to_value, schema_of, sync_validation};
use crate::cx::Cx;
use crate::data_source::DataSource;
use crate::diagnostic::Diagnostics;
use crate::element::Model;
use crate::known::Basis;
use crate::schema::Schema;
use crate::timeouts::Defaults;
use crate::value::Value;

/// Any type of data source.
pub(crate) trait DynDataSource<D>: Send + Sync {
    fn type_name(&self) -> &'static str;
    fn schema(&self) -> Schema;
    fn timeout_defaults(&self) -> Defaults;
    fn validate(&self, config: &Value) -> Diagnostics;
    fn read<'a>(&'a self, cx: &'a Cx<D>, wanted: &'a Value) -> Boxed<'a, Result<Value, Diagnostics>>;
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
        sync_validation(config, |config, diagnostics| self.0.validate(config, diagnostics))
    }

    fn read<'a>(&'a self, cx: &'a Cx<S::Data>, wanted: &'a Value) -> Boxed<'a, Result<Value, Diagnostics>> {
        caught(async move {
            let wanted = known::<S::Model>(wanted, Basis::Plan)?;
            self.0.read(cx, wanted).await.map(known_to_value::<S::Model>)
        })
    }
}
