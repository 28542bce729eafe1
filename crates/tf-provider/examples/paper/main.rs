//! A minimal useful provider: `paper_note` keeps notes as files of a directory.
//!
//! The crate's guide builds it step by step. `comparison/go` is the same provider on HashiCorp's framework for Go.

mod note;

use std::path::PathBuf;
use std::process::ExitCode;

use tf_provider::{Attr, CancellationToken, Diagnostic, Diagnostics, Model, Provider, Registry};

/// Keeps notes in a directory.
#[derive(Clone, Default, Model)]
struct Settings {
    /// The directory.
    #[tf(required)]
    directory: Attr<String>,
}

struct Paper;

impl Provider for Paper {
    const NAME: &'static str = "paper";
    type Model = Settings;
    type Data = PathBuf;

    fn register(&self, registry: &mut Registry<PathBuf>) {
        registry.resource(note::Notes);
    }

    async fn configure(&self, _stop: &CancellationToken, config: Settings) -> Result<Option<PathBuf>, Diagnostics> {
        // `None` while the directory is unknown. Notes are then planned without it.
        let Some(directory) = config.directory.into_known().map(PathBuf::from) else { return Ok(None) };
        if !directory.is_dir() {
            let detail = format!("{} is not a directory.", directory.display());
            return Err(Diagnostic::error("Unable to open the directory", detail).at("directory").into());
        }
        Ok(Some(directory))
    }
}

fn main() -> ExitCode {
    tf_provider::serve(Paper)
}
