//! Write providers for OpenTofu and Terraform: plugin protocol 6.10, from derived models.
//!
//! The [`guide`] goes from an empty directory to a plan, step by step.
//!
//! # A provider
//!
//! A model declares attributes. A field's doc comment is the published description, and `#[tf(…)]` says who sets the
//! attribute and how it is planned ([`derive@Model`] lists all options). [`Attr`] has the three states that a value can
//! have while planning.
//! By the time of an apply, the core has values for everything that the configuration sets. So the derive makes a
//! second struct, here `KnownNote`, in which `name` and `text` are plain strings; create, update and delete get that
//! one.
//!
//! ```no_run
//! use tf_provider::{
//!     Attr, CancellationToken, Context, Diagnostics, Failure, ImportKey, Model, Outcome, Provider, Registry, Resource,
//! };
//!
//! /// A note.
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
//! struct Notes;
//!
//! impl Resource for Notes {
//!     const TYPE: &'static str = "paper_note";
//!     type Data = std::path::PathBuf;
//!     type Model = Note;
//!
//!     async fn create(&self, cx: &Context<Self::Data>, mut plan: KnownNote) -> Outcome<KnownNote> {
//!         std::fs::write(cx.data().join(&plan.name), &plan.text)
//!             .map_err(|error| tf_provider::Diagnostic::error("Unable to write note", error.to_string()))?;
//!         plan.length = (plan.text.len() as u64).into();
//!         Ok(plan)
//!     }
//!
//!     async fn read(&self, cx: &Context<Self::Data>, state: Note) -> Result<Option<Note>, Diagnostics> {
//!         let file = cx.data().join(state.name.require("name")?);
//!         let Ok(text) = std::fs::read_to_string(file) else { return Ok(None) };
//!         Ok(Some(Note { length: (text.len() as u64).into(), text: text.into(), ..state }))
//!     }
//!
//!     async fn update(&self, cx: &Context<Self::Data>, _prior: KnownNote, plan: KnownNote) -> Outcome<KnownNote> {
//!         self.create(cx, plan).await
//!     }
//!
//!     async fn delete(&self, cx: &Context<Self::Data>, state: KnownNote) -> Result<(), Failure<KnownNote>> {
//!         let _ = std::fs::remove_file(cx.data().join(&state.name));
//!         Ok(())
//!     }
//!
//!     async fn import(&self, _: &Context<Self::Data>, key: ImportKey<Note>) -> Result<Note, Diagnostics> {
//!         match key {
//!             ImportKey::Id(name) => Ok(Note { name: name.into(), ..Note::default() }),
//!             ImportKey::Identity(note) => Ok(note),
//!         }
//!     }
//! }
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
//!     type Data = std::path::PathBuf;
//!
//!     fn register(&self, registry: &mut Registry<Self::Data>) {
//!         registry.resource(Notes);
//!     }
//!
//!     async fn configure(
//!         &self,
//!         _stop: &CancellationToken,
//!         config: Settings,
//!     ) -> Result<Option<Self::Data>, Diagnostics> {
//!         // `None` while the directory is unknown. Resources are then planned without data.
//!         Ok(config.directory.into_known().map(Into::into))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     tf_provider::serve(Paper)
//! }
//! ```
//!
//! `examples/shelf/` has every kind of attribute, a planning hook, state of an older version and partial failures. The
//! example also has one type of each other kind:
//!
//! | Kind | Trait | Registered by |
//! | --- | --- | --- |
//! | data source | [`DataSource`]: `read` | [`Registry::data_source`] |
//! | ephemeral resource | [`EphemeralResource`]: `open`, `renew`, `close` | [`Registry::ephemeral_resource`] |
//! | function | [`Function`]: `call` on derived [`Parameters`](derive@Parameters) | [`Registry::function`] |
//!
//! A resource can take over objects of other types ([`Resource::moves`]), upgrade older state and identity, and store
//! private data with the state ([`Call::set_private`]).
//!
//! The crate `pxci-tf-provider-testing` has a harness that drives real cores through such a provider, step by step.
//!
//! # Guarantees
//!
//! * A value that the configuration sets is planned unchanged. Attributes that the configuration leaves out get their
//!   default or null. Computed attributes are unknown in a create, and in an update as soon as anything changes, except
//!   for those that are declared `keep`.
//! * [`Resource::plan`] may change computed attributes only. Attributes that the hook does not change keep unknown
//!   parts that typed models cannot represent.
//! * Write-only values reach create and update in the plan's model, and are not stored. The framework refuses them
//!   under a core that would store them.
//! * The result of create and update is compared with the plan. A difference is an error at the attribute.
//! * The result of a data source or ephemeral resource is compared with its configuration in the same way.
//! * Attributes declared `identity` do not change while the object exists. Every read reports them to the core.
//! * A [`Failure`] carries the object that exists. Unknown values in it become null.
//! * In create, update and delete, required and defaulted attributes are plain values ([`Known`]), and the provider's
//!   data is a plain reference ([`Context::data`]). If a core sends anything else, the framework answers with an error.
//!   Only a planning hook ([`PlanContext`]) can run without data, while the provider's configuration is unknown.
//! * [`Call`] has the stop token of an interrupt and the deadline of the `timeouts` attribute. [`Call::guard`] ends
//!   work on either.
//! * A panic becomes an error of that one call. The user sees its message, so never put a secret into a panic message.
//! * `Debug` of a value shows its type only. [`Secret`] has no `Debug`.
//!
//! # Debugging
//!
//! With `TF_PROVIDER_REATTACH=registry.example.org/me/paper` in its environment, the program serves at once and prints
//! the value of `TF_REATTACH_PROVIDERS` for a core. With `TF_LOG_PROVIDER=DEBUG`, a core shows the provider's log,
//! written with `tracing`.
//!
//! # Architecture
//!
//! `wire` (generated messages, codec) → `service` (messages to calls) → `engine` (one call on values) → `plan` (pure
//! rules) and `erased` (typed code, panics caught). `serve` is the process: handshake, TLS, socket, signals, logs.
//! Deliberately absent: dynamic attributes, the legacy type system flag.
// Derived code names this crate as `tf_provider`. The alias makes that work in the crate's own tests.
#[cfg(test)]
extern crate self as tf_provider;

mod attr;
mod basis;
mod block;
mod check;
mod contents;
mod context;
mod data_source;
pub mod derived;
mod diagnostic;
pub mod docs;
mod element;
mod engine;
mod ephemeral;
mod erased;
pub mod exposed;
pub mod function;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod guide;
mod known;
mod moving;
mod path;
mod plan;
mod provider;
mod resource;
pub mod schema;
mod serve;
mod service;
pub mod timeouts;
mod validate;
mod value;
mod wire;
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
#[cfg(doctest)]
mod wrong_declarations;

#[cfg(test)]
mod derive_tests;
#[cfg(test)]
mod known_tests;

pub use attr::{Attr, Secret};
pub use block::Blocks;
pub use contents::Contents;
pub use context::{Call, Capabilities, Context, PlanContext};
pub use data_source::DataSource;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use element::{Choice, Element, HasLength, Known, Model, Ranged, ValueError};
pub use ephemeral::{EphemeralResource, Opened, Renewed};
pub use function::{Function, FunctionError, Parameters};
pub use moving::{Moved, Moves, Origin};
pub use path::{Path, Step};
pub use provider::{Provider, Registry};
pub use resource::{Failure, ImportKey, Outcome, Plan, Resource};
pub use serve::{Reattach, ServeError, serve};
pub use tf_provider_derive::{Model, Parameters};
pub use timeouts::Timeouts;
pub use tokio_util::sync::CancellationToken;
pub use value::{Number, Value};
