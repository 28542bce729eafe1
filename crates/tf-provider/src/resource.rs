//! The trait of resources.

use std::future::{Future, ready};

use crate::context::{Context, PlanContext};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Known;
use crate::element::Model;
use crate::moving::Moves;
use crate::path::Path;

/// Result of create and update. The error carries the object that exists.
pub type Outcome<M> = Result<M, Failure<M>>;

/// The reason why an operation failed, and the object that exists now.
#[derive(Clone, Debug)]
pub struct Failure<M> {
    /// The object that exists now. `None` means that nothing was created or changed. After a create with a value, the
    /// core keeps the object and marks it for replacement.
    pub partial: Option<M>,
    /// The errors.
    pub diagnostics: Diagnostics,
}

impl<M> Failure<M> {
    /// Returns a failure after which the object `exists` is there. Unknown attributes are stored as null.
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

/// The plan of an object, which the framework made from the declarations. The hook may change `planned`.
pub struct Plan<M> {
    /// The configuration, with write-only values. Values may be unknown.
    pub config: M,
    /// The existing object; `None` in a create, also in the second half of a replacement.
    pub prior: Option<M>,
    /// The planned object. Only computed attributes that the configuration leaves out may be changed: to known or
    /// unknown values.
    pub planned: M,
    pub(crate) replace: Vec<Path>,
}

impl<M> Plan<M> {
    /// Requires a replacement, because the attribute at `path` cannot be changed in place.
    pub fn require_replace(&mut self, path: impl Into<Path>) {
        self.replace.push(path.into());
    }
}

/// The key by which the user imports an object.
#[derive(Clone, Debug)]
pub enum ImportKey<M> {
    /// Text, as in `import { id = "…" }`.
    Id(String),
    /// A model in which the identity attributes are set.
    Identity(M),
}

/// A resource type. Methods may be `async fn`.
pub trait Resource: Send + Sync + 'static {
    /// Type name with the provider's prefix: `pxci_runner_vm`.
    const TYPE: &'static str;
    /// Version of the schema of stored state.
    const VERSION: i64 = 0;
    /// Version of the schema of stored identities.
    const IDENTITY_VERSION: i64 = 0;
    /// Data from the provider's configuration.
    type Data: Send + Sync + 'static;
    /// The attributes.
    type Model: Model;

    /// Checks rules that the declarations cannot express, such as attributes that exclude each other. Values may be
    /// unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Adjusts the plan of a create or update. I/O is allowed.
    fn plan(
        &self,
        _cx: &PlanContext<Self::Data>,
        _plan: &mut Plan<Self::Model>,
    ) -> impl Future<Output = Result<(), Diagnostics>> + Send {
        ready(Ok(()))
    }

    /// Creates the object. `plan` includes the write-only values, which are not stored.
    fn create(
        &self,
        cx: &Context<Self::Data>,
        plan: Known<Self::Model>,
    ) -> impl Future<Output = Outcome<Known<Self::Model>>> + Send;

    /// Reads the object; `None` if it no longer exists.
    fn read(
        &self,
        cx: &Context<Self::Data>,
        state: Self::Model,
    ) -> impl Future<Output = Result<Option<Self::Model>, Diagnostics>> + Send;

    /// Changes the object in place. A failure without partial state means that nothing changed.
    fn update(
        &self,
        cx: &Context<Self::Data>,
        prior: Known<Self::Model>,
        plan: Known<Self::Model>,
    ) -> impl Future<Output = Outcome<Known<Self::Model>>> + Send;

    /// Deletes the object. Succeeds if the object no longer exists. A failure without partial state means that the
    /// object is unchanged.
    fn delete(
        &self,
        cx: &Context<Self::Data>,
        state: Known<Self::Model>,
    ) -> impl Future<Output = Result<(), Failure<Known<Self::Model>>>> + Send;

    /// Finds an existing object. The core calls read next, so only the attributes that read needs must be set.
    fn import(
        &self,
        cx: &Context<Self::Data>,
        _key: ImportKey<Self::Model>,
    ) -> impl Future<Output = Result<Self::Model, Diagnostics>> + Send {
        let summary = format!("{} cannot be imported", cx.type_name());
        ready(Err(Diagnostic::error(summary, "This type does not support import.").into()))
    }

    /// Converts state of version `from`, lower than [`Resource::VERSION`], to the current schema. Afterwards,
    /// attributes that the schema lacks are dropped, and missing ones are null. Integers beyond 64 bits and fractions
    /// of more than 15 characters are text, which keeps all digits, and may stay text in the result.
    ///
    /// # Errors
    /// Fails if the state cannot be converted.
    fn upgrade(&self, _from: i64, state: serde_json::Value) -> Result<serde_json::Value, Diagnostics> {
        Ok(state)
    }

    /// Converts an identity of version `from`, lower than [`Resource::IDENTITY_VERSION`], to the current schema.
    ///
    /// # Errors
    /// Fails if the identity cannot be converted.
    fn upgrade_identity(&self, _from: i64, identity: serde_json::Value) -> Result<serde_json::Value, Diagnostics> {
        Ok(identity)
    }

    /// Registers the types of this or other providers from which a `moved` block may take over objects. The provider is
    /// not configured then.
    fn moves(&self, _moves: &mut Moves<Self::Model>) {}
}
