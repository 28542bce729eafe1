//! Faults on demand, to see how a core handles them.
//!
//! The file `fault` in the shelf's directory contains `fail POINT`, or `hold POINT`, which creates the file `held` and
//! waits until `fault` is removed. Points are `create before`, `create middle`, `create after`, `update`, `delete`.

use std::path::PathBuf;
use std::time::Duration;

use tf_provider::{Context, Diagnostic};

pub(crate) async fn at(cx: &Context<PathBuf>, point: &str) -> Result<(), Diagnostic> {
    let shelf = cx.data();
    let fault = shelf.join("fault");
    let Ok(asked) = std::fs::read_to_string(&fault) else { return Ok(()) };
    if asked == format!("fail {point}") {
        return Err(Diagnostic::error("The shelf gives way", format!("It was asked to, at \"{point}\".")));
    }
    if asked == format!("hold {point}") {
        let _ = std::fs::write(shelf.join("held"), point);
        cx.guard(async {
            while fault.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await?;
    }
    Ok(())
}
