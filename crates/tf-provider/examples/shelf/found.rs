//! `data "shelf_box"`: an existing box.

use std::path::PathBuf;

use tf_provider::{Attr, Context, DataSource, Diagnostic, Diagnostics, Model, Timeouts};

use super::boxes::Boxes;

/// An existing box on the shelf.
#[derive(Clone, Default, Model)]
pub(crate) struct FoundBox {
    /// Number of the box.
    #[tf(required, range(1..))]
    number: Attr<i64>,
    /// Spelling of the name: `as_is` or `upper`.
    #[tf(default = "as_is", one_of("as_is", "upper"))]
    spelling: Attr<String>,
    /// Name.
    #[tf(computed)]
    name: Attr<String>,
    /// Weight in kilogrammes.
    #[tf(computed)]
    weight: Attr<f64>,
    /// Contents in order.
    #[tf(computed)]
    contents: Attr<Vec<String>>,
    /// Deadlines.
    #[tf(timeouts(read = "10s"))]
    timeouts: Timeouts,
}

pub(crate) struct FoundBoxes;

impl DataSource for FoundBoxes {
    const TYPE: &'static str = "shelf_box";
    type Data = PathBuf;
    type Model = FoundBox;

    async fn read(&self, cx: &Context<PathBuf>, wanted: KnownFoundBox) -> Result<KnownFoundBox, Diagnostics> {
        let number = wanted.number;
        let Some(stored) = Boxes::load(cx.data(), number) else {
            let detail = "There is no box with this number on the shelf.";
            return Err(Diagnostic::error(format!("Unable to find box \"{number}\""), detail).at("number").into());
        };
        let found = Boxes::from_stored(number, &stored);
        let name = match (wanted.spelling.as_str(), found.name.text()) {
            ("upper", Some(name)) => name.to_uppercase().into(),
            _ => found.name,
        };
        Ok(KnownFoundBox { name, weight: found.weight, contents: found.contents, ..wanted })
    }
}
