//! A provider with one resource, step by step: from an empty directory to a plan.
//!
//! The result is `examples/paper/`, about ninety lines. `examples/shelf/` has all features that this guide leaves out.
//!
//! # 1. A program
//!
//! A provider is a program that a core starts. It is called `terraform-provider-NAME`, and its `main` is one call:
//!
//! ```toml
//! [package]
//! name = "terraform-provider-paper"
//! edition = "2024"
//!
//! [dependencies]
//! tf-provider = { package = "pxci-tf-provider", path = "…" }
//! ```
//!
//! When a user starts it by hand, the program explains its purpose. Standard output belongs to the handshake, so never
//! use `println!`. Log with `tracing`; a core shows the log with `TF_LOG_PROVIDER=DEBUG`.
//!
//! # 2. A model
//!
//! A struct declares the attributes of a resource. Doc comments become the published descriptions. `#[tf(…)]` says who
//! sets the attribute and how it is planned. The derive refuses declarations that no core would accept, at the field.
//!
//! ```
//! use tf_provider::{Attr, Model};
//!
//! /// A note, kept as a file.
//! #[derive(Clone, Default, Model)]
//! struct Note {
//!     /// Name of the file; another name is another note.
//!     #[tf(required, replace, identity, length(1..=64))]
//!     name: Attr<String>,
//!     /// Text of the note.
//!     #[tf(default = "")]
//!     text: Attr<String>,
//!     /// Length of the text in bytes.
//!     #[tf(computed)]
//!     length: Attr<u64>,
//! }
//!
//! let note = Note { name: "first".into(), ..Note::default() };
//! assert_eq!(note.name.text(), Some("first"));
//! assert!(matches!(note.text, Attr::Null));
//! ```
//!
//! An [`Attr`](crate::Attr) is null, unknown or known. A value is unknown if it comes from another resource that is not
//! applied yet; while planning, any value can be unknown. [`derive@crate::Model`] lists all options.
//!
//! # 3. A resource
//!
//! A resource has four methods, and `import` if existing objects can be imported. The framework plans from the
//! declarations: `length` is unknown until create returns it, and a changed `name` is a replacement.
//!
//! Create, update and delete get a `KnownNote`. The derive makes this struct too, for the time when the core has values
//! for everything that the configuration sets: `name` and `text` are a `String` in it, an optional attribute would be
//! an `Option`, and only the computed `length` is still an `Attr`. The provider is configured then, so
//! [`Context::data`](crate::Context::data) is a plain reference. Read and import work with a `Note`, because a state
//! can lack attributes, for example after an import.
//!
//! ```no_run
//! # use tf_provider::{Attr, Model};
//! # /// A note.
//! # #[derive(Clone, Default, Model)]
//! # struct Note {
//! #     /// Name.
//! #     #[tf(required, replace, identity, length(1..=64))]
//! #     name: Attr<String>,
//! #     /// Text.
//! #     #[tf(default = "")]
//! #     text: Attr<String>,
//! #     /// Length.
//! #     #[tf(computed)]
//! #     length: Attr<u64>,
//! # }
//! use std::io::ErrorKind;
//! use std::{fs, path::PathBuf};
//! use tf_provider::{Context, Diagnostic, Diagnostics, Failure, ImportKey, Outcome, Resource};
//!
//! struct Notes;
//!
//! impl Resource for Notes {
//!     const TYPE: &'static str = "paper_note";
//!     type Data = PathBuf;
//!     type Model = Note;
//!
//!     async fn create(&self, cx: &Context<PathBuf>, mut plan: KnownNote) -> Outcome<KnownNote> {
//!         plan.length = (plan.text.len() as u64).into();
//!         fs::write(cx.data().join(&plan.name), &plan.text)
//!             .map_err(|error| Diagnostic::error("Unable to write note", error.to_string()))?;
//!         Ok(plan)
//!     }
//!
//!     async fn read(&self, cx: &Context<PathBuf>, state: Note) -> Result<Option<Note>, Diagnostics> {
//!         match fs::read_to_string(cx.data().join(state.name.require("name")?)) {
//!             Ok(text) => Ok(Some(Note { length: (text.len() as u64).into(), text: text.into(), ..state })),
//!             Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
//!             Err(error) => Err(Diagnostic::error("Unable to read note", error.to_string()).into()),
//!         }
//!     }
//!
//!     async fn update(&self, cx: &Context<PathBuf>, _prior: KnownNote, plan: KnownNote) -> Outcome<KnownNote> {
//!         self.create(cx, plan).await
//!     }
//!
//!     async fn delete(&self, cx: &Context<PathBuf>, state: KnownNote) -> Result<(), Failure<KnownNote>> {
//!         match fs::remove_file(cx.data().join(&state.name)) {
//!             Err(error) if error.kind() != ErrorKind::NotFound => {
//!                 Err(Diagnostic::error("Unable to remove note", error.to_string()).into())
//!             }
//!             _ => Ok(()),
//!         }
//!     }
//!
//!     async fn import(&self, _: &Context<PathBuf>, key: ImportKey<Note>) -> Result<Note, Diagnostics> {
//!         Ok(match key {
//!             ImportKey::Id(name) => Note { name: name.into(), ..Note::default() },
//!             ImportKey::Identity(note) => note,
//!         })
//!     }
//! }
//! ```
//!
//! * `read` returns `None` if the object no longer exists. The core then plans to create it again. Any other doubt is
//!   an error.
//! * `delete` succeeds if the object no longer exists.
//! * A create that fails half-way returns [`Failure::partial`](crate::Failure::partial) with the object that exists, so
//!   that the core stores it and removes it later.
//! * A required attribute that `read` cannot determine is declared `unread`. An imported object lacks the attribute
//!   until the next apply, and delete gets an empty value for it. Without `unread`, the framework refuses to delete
//!   such an object before the next apply.
//! * Slow work runs inside of [`Call::guard`](crate::Call::guard), which ends it on an interrupt and at the deadline.
//!
//! # 4. The provider
//!
//! The provider has its own block, the data that resources get from the configuration, and the list of types.
//!
//! ```no_run
//! use std::path::PathBuf;
//! use tf_provider::{Attr, CancellationToken, Diagnostics, Model, Provider, Registry};
//!
//! /// Keeps notes in a directory.
//! #[derive(Clone, Default, Model)]
//! struct Settings {
//!     /// The directory.
//!     #[tf(required)]
//!     directory: Attr<String>,
//! }
//!
//! struct Paper;
//!
//! impl Provider for Paper {
//!     const NAME: &'static str = "paper";
//!     type Model = Settings;
//!     type Data = PathBuf;
//!
//!     fn register(&self, registry: &mut Registry<PathBuf>) {
//!         // registry.resource(Notes);
//!     }
//!
//!     async fn configure(&self, _stop: &CancellationToken, config: Settings) -> Result<Option<PathBuf>, Diagnostics> {
//!         // `None` while the directory is unknown. Notes are then planned without it.
//!         Ok(config.directory.into_known().map(PathBuf::from))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     tf_provider::serve(Paper)
//! }
//! ```
//!
//! # 5. A plan
//!
//! Build the provider, and configure the core to use it from the build directory. No `init` is needed:
//!
//! ```sh
//! cargo build
//! cat > cli.tfrc <<END
//! provider_installation {
//!   dev_overrides { "example.com/me/paper" = "$PWD/target/debug" }
//! }
//! END
//! cat > main.tf <<END
//! terraform {
//!   required_providers { paper = { source = "example.com/me/paper" } }
//! }
//! provider "paper" { directory = "/tmp" }
//! resource "paper_note" "first" {
//!   name = "first"
//!   text = "Hello"
//! }
//! END
//! TF_CLI_CONFIG_FILE=cli.tfrc tofu apply
//! ```
//!
//! # 6. Reference pages
//!
//! `TF_PROVIDER_DOCS=write target/debug/terraform-provider-paper` writes `docs/` in the layout of registries
//! ([`docs`](crate::docs)). `examples/shelf/docs/` is the result for `examples/shelf/` with the configurations below
//! `examples/shelf/examples/`. A test of a few lines (`tests/pages.rs`) keeps the pages up to date.
//!
//! # Compared with HashiCorp's framework for Go
//!
//! `comparison/go/` is the same provider on terraform-plugin-framework 1.19, with the same behaviour under a core. The
//! first table counts lines of version 0.1.0 without blank lines and comments (doc comments count, because they are
//! published).
//!
//! | | Rust | Go |
//! | --- | --- | --- |
//! | the resource (`note.rs`, `note.go`) | 54 | 154 |
//! | the whole provider | 85 | 218 |
//!
//! `cargo xtask bench` measures times and memory. On a virtual machine with two cores (median of fifty starts, of seven
//! plans with OpenTofu 1.12.6):
//!
//! | | Rust | Go | ratio |
//! | --- | --- | --- | --- |
//! | from the start to the handshake, with a client certificate | 3.0 ms | 27.5 ms | 0.11 |
//! | plan of 500 notes to create | 0.52 s | 1.51 s | 0.37 |
//! | plan of 500 unchanged notes | 0.78 s | 2.01 s | 0.43 |
//! | peak memory of the provider with 500 notes | 7.4 MiB | 78.2 MiB | 0.10 |
