//! A complete provider: `shelf_box` keeps boxes as JSON files in a directory.
//!
//! `shelf_box` has every kind of attribute, `shelf_rack` every kind of block. The example also has a data source, an
//! ephemeral resource and a function. To try it with a core, copy the built example into a
//! directory as `terraform-provider-shelf` and set `dev_overrides` to that directory.

mod boxes;
mod crates;
mod faults;
mod found;
mod keys;
mod label;
mod racks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tf_provider::{Attr, CancellationToken, Diagnostic, Diagnostics, Model, Provider, Registry};

use boxes::{Asker, Boxes};
use crates::Crates;
use found::FoundBoxes;
use keys::Keys;
use label::Label;
use racks::Racks;

/// Keeps boxes in a directory.
#[derive(Clone, Default, Model)]
pub(crate) struct ShelfModel {
    /// The directory.
    #[tf(required)]
    directory: Attr<String>,
}

pub(crate) struct Shelf;

impl Provider for Shelf {
    const NAME: &'static str = "shelf";
    type Model = ShelfModel;
    type Data = PathBuf;

    fn register(&self, registry: &mut Registry<PathBuf>) {
        registry.meta::<Asker>().resource(Boxes).resource(Crates).resource(Racks);
        registry.data_source(FoundBoxes).ephemeral_resource(Keys).function(Label);
    }

    async fn configure(&self, _: &CancellationToken, config: ShelfModel) -> Result<Option<PathBuf>, Diagnostics> {
        let Some(directory) = config.directory.text() else { return Ok(None) };
        if !Path::new(directory).is_dir() {
            let detail = format!("{directory} is not a directory.");
            return Err(Diagnostic::error("Unable to open the shelf", detail).at("directory").into());
        }
        Ok(Some(PathBuf::from(directory)))
    }
}

fn main() -> ExitCode {
    tf_provider::serve(Shelf)
}
