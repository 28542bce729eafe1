//! The object-safe twin of [`Resource`](crate::Resource): typed models on one side, values on the other.

use crate::resource::Resource;
use crate::schema::Schema;

pub(crate) struct Erased<R>(pub(crate) R);

/// Any resource type.
pub(crate) trait DynResource<D>: Send + Sync {
    fn type_name(&self) -> &'static str;
    fn schema(&self) -> Schema;
}

impl<R: Resource> DynResource<R::Data> for Erased<R> {
    fn type_name(&self) -> &'static str {
        R::TYPE
    }

    fn schema(&self) -> Schema {
        use crate::element::Model;
        Schema {
            version: R::VERSION,
            description: R::Model::DESCRIPTION.to_owned(),
            deprecated: R::Model::DEPRECATED.map(str::to_owned),
            attributes: R::Model::attributes(),
        }
    }
}
