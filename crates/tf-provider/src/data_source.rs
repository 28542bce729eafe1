//! What the author of a data source writes.

use std::future::Future;

use crate::cx::Cx;
use crate::diagnostic::Diagnostics;
use crate::element::Model;
use crate::known::Known;

/// One type of data source: looks something up, changes nothing. Methods may be `async fn`.
///
/// The core reads it while planning; if its configuration is not known by then, while applying. In the model's
/// declaration, `required`, `optional`, `computed`, `default`, `sensitive`, `equal` and the checks have their meaning;
/// what is about changing or storing an object (`replace`, `keep`, `write_only`, `identity`) has none.
/// `timeouts(read = …)` limits reading.
///
/// While the provider's configuration is not known yet, it cannot be read: the framework answers with an error, since cores
/// have no other answer for that.
pub trait DataSource: Send + Sync + 'static {
    /// Type name with the provider's prefix: `pxci_template`.
    const TYPE: &'static str;
    /// What the provider's configuration gives.
    type Data: Send + Sync + 'static;
    /// The attributes.
    type Model: Model;

    /// Checks what the declarations cannot say. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Looks it up. In `wanted` stands what the configuration sets, defaults filled in; computed attributes are unknown
    /// and must be known in what is returned, or null. What the configuration sets must come back as it is.
    ///
    /// # Errors
    /// When it cannot be found: a data source without a result is an error to the core.
    fn read(
        &self,
        cx: &Cx<Self::Data>,
        wanted: Known<Self::Model>,
    ) -> impl Future<Output = Result<Known<Self::Model>, Diagnostics>> + Send;
}
