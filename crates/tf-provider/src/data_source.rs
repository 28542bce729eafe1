//! The trait of data sources.

use std::future::Future;

use crate::context::Context;
use crate::diagnostic::Diagnostics;
use crate::element::Known;
use crate::element::Model;

/// A type of data source, which reads and changes nothing. Methods may be `async fn`.
///
/// The core reads it while planning or, if its configuration is not known by then, while applying. In the model's
/// declaration, `required`, `optional`, `computed`, `default`, `sensitive`, `equal` and the checks have their usual
/// meaning. Options about changing or storing an object (`replace`, `keep`, `write_only`, `identity`) have none.
/// `timeouts(read = …)` limits reading.
///
/// While the provider's configuration is not known yet, the framework answers a read with an error, because cores have
/// no other answer for that.
pub trait DataSource: Send + Sync + 'static {
    /// Type name with the provider's prefix: `pxci_template`.
    const TYPE: &'static str;
    /// Data from the provider's configuration.
    type Data: Send + Sync + 'static;
    /// The attributes.
    type Model: Model;

    /// Checks rules that the declarations cannot express. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Reads the data source. `config` has the configured values and defaults; its computed attributes are unknown. In
    /// the result, computed attributes must be known or null, and all others unchanged.
    ///
    /// # Errors
    /// Fails if nothing is found, because a data source without a result is an error for the core.
    fn read(
        &self,
        cx: &Context<Self::Data>,
        config: Known<Self::Model>,
    ) -> impl Future<Output = Result<Known<Self::Model>, Diagnostics>> + Send;
}
