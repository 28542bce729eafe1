//! What the author of a resource writes.

use std::future::{Future, ready};

use crate::cx::{Cx, PlanCx};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::known::Known;
use crate::moving::Moves;
use crate::path::Path;

/// Result of create and update. The error carries what really exists.
pub type Outcome<M> = Result<M, Failure<M>>;

/// Why an operation failed, and what exists now.
#[derive(Clone, Debug)]
pub struct Failure<M> {
    /// What exists now. `None`: nothing was created, or nothing was changed. With a value after create, the core keeps
    /// the object and marks it for replacement.
    pub partial: Option<M>,
    /// The errors.
    pub diagnostics: Diagnostics,
}

impl<M> Failure<M> {
    /// Failed, with `exists` being there now. Attributes that are still unknown are stored as null.
    pub fn partial(exists: M, diagnostics: impl Into<Diagnostics>) -> Self {
        Self { partial: Some(exists), diagnostics: diagnostics.into() }
    }
}

impl<M> From<Diagnostic> for Failure<M> {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { partial: None, diagnostics: diagnostic.into() }
    }
}

impl<M> From<Diagnostics> for Failure<M> {
    fn from(diagnostics: Diagnostics) -> Self {
        Self { partial: None, diagnostics }
    }
}

/// The plan of one object, as the framework made it from the declarations. The hook may change `planned`.
pub struct Plan<M> {
    /// What the user wrote, write-only values included; unknown where it is not known yet.
    pub config: M,
    /// What exists; `None` when it is to be created (also as the second half of a replacement).
    pub prior: Option<M>,
    /// What it shall become. Only computed attributes that the configuration leaves out may be changed: made known, or
    /// unknown.
    pub planned: M,
    pub(crate) replace: Vec<Path>,
}

impl<M> Plan<M> {
    /// The change cannot be made in place because of the attribute at `path`.
    pub fn require_replace(&mut self, path: impl Into<Path>) {
        self.replace.push(path.into());
    }
}

/// By what the user asks for an object to be imported.
#[derive(Clone, Debug)]
pub enum ImportKey<M> {
    /// Text, as in `import { id = "…" }`.
    Id(String),
    /// A model in which the identity attributes are set.
    Identity(M),
}

/// One resource type. Methods may be `async fn`.
pub trait Resource: Send + Sync + 'static {
    /// Type name with the provider's prefix: `pxci_runner_vm`.
    const TYPE: &'static str;
    /// Version of the stored form.
    const VERSION: i64 = 0;
    /// Version of the stored identity.
    const IDENTITY_VERSION: i64 = 0;
    /// What the provider's configuration gives.
    type Data: Send + Sync + 'static;
    /// The attributes.
    type Model: Model;

    /// Checks what the declarations cannot say, such as attributes that exclude each other. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Adjusts the plan of a create or update. May do I/O.
    fn plan(
        &self,
        _cx: &PlanCx<Self::Data>,
        _plan: &mut Plan<Self::Model>,
    ) -> impl Future<Output = Result<(), Diagnostics>> + Send {
        ready(Ok(()))
    }

    /// Makes the object. `plan` holds the write-only values too; they are not stored.
    fn create(
        &self,
        cx: &Cx<Self::Data>,
        plan: Known<Self::Model>,
    ) -> impl Future<Output = Outcome<Known<Self::Model>>> + Send;

    /// Looks at the object; `None` if it is gone.
    fn read(
        &self,
        cx: &Cx<Self::Data>,
        state: Self::Model,
    ) -> impl Future<Output = Result<Option<Self::Model>, Diagnostics>> + Send;

    /// Changes the object in place. A failure without partial state says that nothing changed.
    fn update(
        &self,
        cx: &Cx<Self::Data>,
        prior: Known<Self::Model>,
        plan: Known<Self::Model>,
    ) -> impl Future<Output = Outcome<Known<Self::Model>>> + Send;

    /// Removes the object. It being gone already is a success. A failure without partial state says that it is
    /// unchanged.
    fn delete(
        &self,
        cx: &Cx<Self::Data>,
        state: Known<Self::Model>,
    ) -> impl Future<Output = Result<(), Failure<Known<Self::Model>>>> + Send;

    /// Finds an existing object; the core calls read right after, so only what read needs must be set.
    fn import(
        &self,
        cx: &Cx<Self::Data>,
        _key: ImportKey<Self::Model>,
    ) -> impl Future<Output = Result<Self::Model, Diagnostics>> + Send {
        let summary = format!("{} cannot be imported", cx.type_name());
        ready(Err(Diagnostic::error(summary, "This type has nothing to find an existing object by.").into()))
    }

    /// Turns state of version `from`, lower than [`Resource::VERSION`], into the present form. Attributes that the
    /// present schema lacks are dropped afterwards, missing ones become null. Integers beyond 64 bits and fractions of
    /// more than 15 characters come as text, which keeps all their digits, and are taken back so.
    ///
    /// # Errors
    /// When it cannot be done.
    fn upgrade(&self, _from: i64, state: serde_json::Value) -> Result<serde_json::Value, Diagnostics> {
        Ok(state)
    }

    /// The same for identity of version `from`, lower than [`Resource::IDENTITY_VERSION`].
    ///
    /// # Errors
    /// When it cannot be done.
    fn upgrade_identity(&self, _from: i64, identity: serde_json::Value) -> Result<serde_json::Value, Diagnostics> {
        Ok(identity)
    }

    /// Says which objects of other types, or of other providers, a `moved` block may turn into this type. The provider
    /// is not configured then.
    fn moves(&self, _moves: &mut Moves<Self::Model>) {}
}
