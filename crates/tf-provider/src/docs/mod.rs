//! Reference pages in the layout that registries read, made from the schema and from `examples/`.
//!
//! ```text
//! docs/index.md                        the provider          examples/provider/*.tf
//! docs/resources/box.md                a resource type       examples/resources/shelf_box/*.tf
//! docs/data-sources/box.md             a data source         examples/data-sources/shelf_box/*.tf
//! docs/ephemeral-resources/token.md    an ephemeral one      examples/ephemeral-resources/shelf_token/*.tf
//! docs/functions/label.md              a function            examples/functions/label/*.tf
//! docs/guides/*.md                     the author's guides, which are only linked
//! ```
//!
//! `import.sh` and `import.tf` next to an example show how an existing object is imported. The directories of pages
//! belong to the generator: the page of a type that is no longer registered counts as stale. Descriptions are used as
//! Markdown. Everything else on a page (types, marks, defaults, allowed values, identity) comes from the declarations.
//!
//! Any provider writes its own pages: `TF_PROVIDER_DOCS=write terraform-provider-shelf`, run at the root of the
//! repository. With `check`, the program only lists pages that are not up to date. In a test:
//!
//! ```no_run
//! # use tf_provider::{Attr, CancellationToken, Diagnostics, Model, Provider, Registry};
//! # /// A shelf.
//! # #[derive(Clone, Default, Model)]
//! # struct Settings {}
//! # struct Shelf;
//! # impl Provider for Shelf {
//! #     const NAME: &'static str = "shelf";
//! #     type Model = Settings;
//! #     type Data = ();
//! #     fn register(&self, _: &mut Registry<()>) {}
//! #     async fn configure(&self, _: &CancellationToken, _: Settings) -> Result<Option<()>, Diagnostics> { Ok(None) }
//! # }
//! # fn main() -> std::io::Result<()> {
//! let pages = tf_provider::docs::Pages::of(&Shelf, env!("CARGO_MANIFEST_DIR").as_ref())?;
//! assert_eq!(pages.stale()?, Vec::<std::path::PathBuf>::new());
//! # Ok(())
//! # }
//! ```

mod attributes;
mod examples;
mod functions;
mod markup;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::erased::schema_of;
use crate::provider::{Provider, Registry};
use page::{Declared, Page, PageKind};

/// Directories of pages that the generator owns.
const OWNED: [&str; 4] = ["docs/resources", "docs/data-sources", "docs/ephemeral-resources", "docs/functions"];

/// All pages of a provider.
#[derive(Debug)]
pub struct Pages {
    root: PathBuf,
    /// Texts of the pages, by path below the root.
    pages: BTreeMap<PathBuf, String>,
}

impl Pages {
    /// Returns the pages of a provider, with the examples and guides below `root`.
    ///
    /// # Errors
    /// Fails if an example or a guide is there but cannot be read.
    pub fn of<P: Provider>(provider: &P, root: &Path) -> io::Result<Self> {
        let mut registry = Registry::new();
        provider.register(&mut registry);
        let page = |part, name, declared| Page { part, provider: P::NAME, name, declared };
        let of_type = |part, name, schema| page(part, name, Declared::Schema(schema));
        let mut made = vec![of_type(PageKind::Provider, P::NAME, schema_of::<P::Model>(0))];
        let resources = registry.resources.iter();
        made.extend(resources.map(|it| of_type(PageKind::Resource, it.type_name(), it.schema())));
        let data_sources = registry.data_sources.iter();
        made.extend(data_sources.map(|it| of_type(PageKind::DataSource, it.type_name(), it.schema())));
        let ephemeral = registry.ephemeral_resources.iter();
        made.extend(ephemeral.map(|it| of_type(PageKind::EphemeralResource, it.type_name(), it.schema())));
        let functions = registry.functions.iter();
        made.extend(functions.map(|it| page(PageKind::Function, it.name(), Declared::Signature(it.signature()))));
        let pages = made.iter().map(|page| Ok((page.path(), page.text(root)?)));
        Ok(Self { root: root.to_owned(), pages: pages.collect::<io::Result<_>>()? })
    }

    /// Returns path below the root and text of each page.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.pages.iter().map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// Returns the paths of pages that are missing, differ, or belong to no registered type.
    ///
    /// # Errors
    /// Fails if a page is there but cannot be read.
    pub fn stale(&self) -> io::Result<Vec<PathBuf>> {
        let mut stale = self.orphans()?;
        for (path, text) in &self.pages {
            if examples::read(&self.root.join(path))?.as_ref() != Some(text) {
                stale.push(path.clone());
            }
        }
        Ok(stale)
    }

    /// Writes stale pages, and removes pages that belong to no registered type. Returns their paths below the root.
    ///
    /// # Errors
    /// Fails if a file cannot be written or removed.
    pub fn write(&self) -> io::Result<Vec<PathBuf>> {
        let stale = self.stale()?;
        for path in &stale {
            let place = self.root.join(path);
            let Some(text) = self.pages.get(path) else {
                fs::remove_file(place)?;
                continue;
            };
            if let Some(directory) = place.parent() {
                fs::create_dir_all(directory)?;
            }
            fs::write(place, text)?;
        }
        Ok(stale)
    }

    fn orphans(&self) -> io::Result<Vec<PathBuf>> {
        let mut orphans = Vec::new();
        for directory in OWNED {
            let found = examples::files(&self.root.join(directory), "md")?;
            let names = found.iter().filter_map(|path| path.file_name());
            orphans.extend(
                names.map(|name| Path::new(directory).join(name)).filter(|path| !self.pages.contains_key(path)),
            );
        }
        Ok(orphans)
    }
}
