//! Takes over objects in the state from another resource type, possibly of another provider: `moved` blocks.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::value::{Number, Value};

/// The stored object of another type.
pub struct Origin {
    /// Address of the other type's provider: `registry.opentofu.org/hashicorp/null`.
    pub provider: String,
    /// Name of the other resource type.
    pub type_name: String,
    /// Version of the other type's schema.
    pub version: i64,
    /// Attributes of the object. Integers beyond 64 bits and fractions of more than 15 characters are text, which keeps
    /// all digits. [`Origin::number`] reads both forms.
    pub state: Json,
    /// Identity of the object, if it has one. Numbers are as in the state.
    pub identity: Option<Json>,
    private: Vec<u8>,
}

impl Origin {
    pub(crate) fn new(provider: String, type_name: String, version: i64, state: Json) -> Self {
        Self { provider, type_name, version, state, identity: None, private: Vec::new() }
    }

    pub(crate) fn with_identity(self, identity: Option<Json>) -> Self {
        Self { identity, ..self }
    }

    pub(crate) fn with_private(self, private: Vec<u8>) -> Self {
        Self { private, ..self }
    }

    /// Returns the private state, if it is JSON of this shape. Other frameworks store other data there.
    #[must_use]
    pub fn private<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.private).ok()
    }

    /// Returns an attribute that is text; `None` if it is not text.
    #[must_use]
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.state.get(attribute)?.as_str()
    }

    /// Returns an attribute that is a number or the text of a number, with every digit; `None` if it is neither.
    #[must_use]
    pub fn number(&self, attribute: &str) -> Option<Number> {
        match self.state.get(attribute)? {
            Json::Number(number) => Number::parse(&number.to_string()),
            Json::String(text) => Number::parse(text),
            _ => None,
        }
    }
}

/// The object after the move. The core calls read next, so only the attributes that read needs must be set.
pub struct Moved<M> {
    model: M,
    private: Option<Vec<u8>>,
}

impl<M> Moved<M> {
    /// Adds private state, as [`Call::set_private`](crate::Call::set_private) does. The private state of the origin is
    /// not kept.
    ///
    /// # Errors
    /// Fails if `private` cannot be written as JSON.
    pub fn with_private<T: Serialize>(self, private: &T) -> Result<Self, Diagnostic> {
        let private = serde_json::to_vec(private)
            .map_err(|error| Diagnostic::error("Unable to store private state", error.to_string()))?;
        Ok(Self { private: Some(private), ..self })
    }
}

impl<M> From<M> for Moved<M> {
    fn from(model: M) -> Self {
        Self { model, private: None }
    }
}

/// The types from which a resource type takes over objects. Others are refused with a message that lists the accepted
/// types.
pub struct Moves<M> {
    rules: Vec<Rule>,
    model: PhantomData<fn() -> M>,
}

impl<M: Model> Moves<M> {
    pub(crate) fn new() -> Self {
        Self { rules: Vec::new(), model: PhantomData }
    }

    /// Accepts objects of `type_name` of `provider` with a schema version in `versions`. A provider without host, such
    /// as `hashicorp/null`, matches any registry. Built-in types belong to `terraform.io/builtin/terraform`. The
    /// identity of the new object comes from its model.
    pub fn from<T: Into<Moved<M>>>(
        &mut self,
        provider: &str,
        type_name: &str,
        versions: impl RangeBounds<i64>,
        take: impl Fn(Origin) -> Result<T, Diagnostics> + Send + Sync + 'static,
    ) -> &mut Self {
        let take = move |origin| {
            let taken: Moved<M> = take(origin)?.into();
            Ok((taken.model.to_value(), taken.private.unwrap_or_default()))
        };
        self.rules.push(Rule {
            provider: provider.to_owned(),
            type_name: type_name.to_owned(),
            versions: (versions.start_bound().cloned(), versions.end_bound().cloned()),
            take: Arc::new(take),
        });
        self
    }

    pub(crate) fn into_rules(self) -> Vec<Rule> {
        self.rules
    }
}

type Take = dyn Fn(Origin) -> Result<(Value, Vec<u8>), Diagnostics> + Send + Sync;

/// A type from which objects are taken over.
pub(crate) struct Rule {
    provider: String,
    type_name: String,
    versions: (Bound<i64>, Bound<i64>),
    take: Arc<Take>,
}

impl Rule {
    fn is_for(&self, origin: &Origin) -> bool {
        let host = origin.provider.strip_suffix(&self.provider);
        self.type_name == origin.type_name && host.is_some_and(|host| host.is_empty() || host.ends_with('/'))
    }
}

/// Applies the first rule that matches, and returns the object's value and private state.
///
/// # Errors
/// Fails if no rule matches this origin or its version, or the author's code refuses.
pub(crate) fn take_over(rules: &[Rule], target: &str, origin: Origin) -> Result<(Value, Vec<u8>), Diagnostics> {
    let mut known = rules.iter().filter(|rule| rule.is_for(&origin)).peekable();
    let named = format!("\"{}\" of provider {}", origin.type_name, origin.provider);
    if known.peek().is_none() {
        let accepted: Vec<_> =
            rules.iter().map(|rule| format!("\"{}\" of {}", rule.type_name, rule.provider)).collect();
        let accepted = if accepted.is_empty() { "no other type".to_owned() } else { accepted.join(", ") };
        return Err(refusal(target, &format!("It takes over {accepted}; not {named}.")));
    }
    let Some(rule) = known.find(|rule| rule.versions.contains(&origin.version)) else {
        let detail = format!(
            "It takes over {named}, but not in version {} of its stored form. Apply it once with another version of \
             its own provider, then move it.",
            origin.version
        );
        return Err(refusal(target, &detail));
    };
    (rule.take)(origin)
}

fn refusal(target: &str, detail: &str) -> Diagnostics {
    Diagnostic::error(format!("Unable to move state into {target}"), detail).into()
}
