//! Test a provider with real cores. Needs the cargo feature `testing`.
//!
//! [`Core::all`] finds OpenTofu and Terraform: what `TF_PROVIDER_CORES` names, else what is on `PATH`. A [`Harness`] lets one
//! of them use a provider that is served within the test's process, or started as a program as it is for users. A step is
//! then a few lines: plan, checks on the plan, apply of that very plan, comparison of the outcome with it, and two further
//! plans, without and with a refresh, which must be empty.
//!
//! ```no_run
//! # use tf_provider::{Attr, CancellationToken, Diagnostics, Model, Provider, Registry};
//! # #[derive(Clone, Default, Model)]
//! # /// Keeps notes.
//! # struct Settings {
//! #     /// The directory.
//! #     #[tf(required)]
//! #     directory: Attr<String>,
//! # }
//! # struct Paper;
//! # impl Provider for Paper {
//! #     const NAME: &'static str = "paper";
//! #     type Model = Settings;
//! #     type Data = ();
//! #     fn register(&self, registry: &mut Registry<()>) {}
//! #     async fn configure(&self, _: &CancellationToken, _: Settings) -> Result<Option<()>, Diagnostics> { Ok(None) }
//! # }
//! use tf_provider::testing::{Core, Failed, Harness};
//!
//! const PROVIDER: &str = "provider \"paper\" { directory = \"notes\" }\n";
//! const IT: &str = "paper_note.it";
//!
//! fn note(body: &str) -> String {
//!     format!("{PROVIDER} resource \"paper_note\" \"it\" {{ {body} }}")
//! }
//!
//! // With #[tokio::test]:
//! async fn a_note_lives() -> Result<(), Failed> {
//!     for core in Core::all()? {
//!         let paper = Harness::in_process(&core, "example.com/me/paper", Paper)?;
//!         std::fs::create_dir(paper.work().path().join("notes")).expect("a directory");
//!
//!         let state = paper.step("create", &note("name = \"first\"")).await?.does(IT, "create")?.apply().await?;
//!         state.resource(IT)?.has("length", 0)?;
//!
//!         let longer = note("name = \"first\"\n text = \"ü\"");
//!         paper.step("update", &longer).await?.does(IT, "update")?.apply().await?;
//!         paper.imports("import", IT, "first", &["timeouts"]).await?;
//!         paper.step("rename", &note("name = \"second\"")).await?.replaces(IT, "name")?.apply().await?;
//!         paper.destroys("destroy").await?;
//!         assert!(!paper.work().path().join("notes/second").exists());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A failure names the step, the core with its version, the attribute and both values, and shows what the core printed:
//!
//! ```text
//! step "update" with OpenTofu 1.12.6: a plan with refresh: nothing should be left to do, but: paper_note.it: update
//!   paper_note.it.text: "U" -> "u"
//! --- it printed:
//! …
//! ```
//!
//! [`WorkingDirectory`] below it runs a core with any words, and interrupts it. It knows of no provider, so it drives
//! whole configurations, too. [`conformance`] takes a resource type through all that may happen to it.

pub mod conformance;
mod cores;
mod failed;
mod harness;
mod plan;
mod run;
pub mod schema;
pub mod search;
mod served;
mod state;
mod working_directory;

pub use self::cores::{Core, CoreKind, Feature};
pub use self::failed::Failed;
pub use self::harness::{Harness, Step};
pub use self::plan::Plan;
pub use self::run::{Finished, Running};
pub use self::state::{Attributes, State, Stored};
pub use self::working_directory::WorkingDirectory;
