//! Panics of the author's code as diagnostics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::diagnostic::{Diagnostic, Diagnostics};

/// Runs the author's code. A panic becomes an error.
pub(crate) fn catch_panic<'a, T, E: From<Diagnostic> + 'a>(
    work: impl Future<Output = Result<T, E>> + Send + 'a,
) -> BoxFuture<'a, Result<T, E>> {
    Box::pin(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        result.unwrap_or_else(|panic| Err(panic_diagnostic(panic.as_ref()).into()))
    })
}

/// Runs the author's synchronous code. A panic becomes an error.
pub(crate) fn catch_panic_sync<T>(work: impl FnOnce() -> Result<T, Diagnostics>) -> Result<T, Diagnostics> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panic_diagnostic(panic.as_ref()).into()))
}

pub(crate) fn panic_diagnostic(panic: &(dyn Any + Send)) -> Diagnostic {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    let detail = format!(
        "The provider's code stopped unexpectedly: {text}. This is a bug in the provider. The operation may be \
         half done."
    );
    Diagnostic::error("Provider bug", detail)
}
