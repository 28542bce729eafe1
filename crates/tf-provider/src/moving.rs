//! Taking over objects that another resource type, perhaps of another provider, has in the state: `moved` blocks.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::value::{Number, Value};

/// An object as another type stored it.
pub struct Origin {
    /// Address of the provider: `registry.opentofu.org/hashicorp/null`.
    pub provider: String,
    /// Resource type there.
    pub type_name: String,
    /// Version of its stored form.
    pub version: i64,
    /// Its attributes. Integers beyond 64 bits and fractions of more than 15 characters are text here, which keeps all
    /// their digits: [`Origin::number`] reads either.
    pub state: Json,
    /// Its identity, where it has one; with numbers as in the state.
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

    /// Its private state, if that is JSON of this shape. Other frameworks keep other things there.
    #[must_use]
    pub fn private<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.private).ok()
    }

    /// An attribute that is text; `None` if it is not.
    #[must_use]
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.state.get(attribute)?.as_str()
    }

    /// An attribute that is a number, or text that says one, with every digit; `None` if it is neither.
    #[must_use]
    pub fn number(&self, attribute: &str) -> Option<Number> {
        match self.state.get(attribute)? {
            Json::Number(number) => Number::parse(&number.to_string()),
            Json::String(text) => Number::parse(text),
            _ => None,
        }
    }
}

/// What an origin became. The core reads the object right after: only what read needs must be set.
pub struct Taken<M> {
    model: M,
    private: Option<Vec<u8>>,
}

impl<M> Taken<M> {
    /// Adds private state, as [`Call::set_private`](crate::Call::set_private) does. Without it there is none: the
    /// origin's is not carried over.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn with_private<T: Serialize>(self, private: &T) -> Result<Self, Diagnostic> {
        let private = serde_json::to_vec(private)
            .map_err(|error| Diagnostic::error("Unable to store private state", error.to_string()))?;
        Ok(Self { private: Some(private), ..self })
    }
}

impl<M> From<M> for Taken<M> {
    fn from(model: M) -> Self {
        Self { model, private: None }
    }
}

/// What a resource type takes over. Everything else is refused with a message that lists what would be accepted.
pub struct Moves<M> {
    rules: Vec<Rule>,
    model: PhantomData<fn() -> M>,
}

impl<M: Model> Moves<M> {
    pub(crate) fn new() -> Self {
        Self { rules: Vec::new(), model: PhantomData }
    }

    /// Takes over `type_name` of `provider`, stored in a version within `versions`. A provider without host, such as
    /// `hashicorp/null`, is meant on any registry; built-in types are of `terraform.io/builtin/terraform`. The identity
    /// of the new object is that of its model.
    pub fn from<T: Into<Taken<M>>>(
        &mut self,
        provider: &str,
        type_name: &str,
        versions: impl RangeBounds<i64>,
        take: impl Fn(Origin) -> Result<T, Diagnostics> + Send + Sync + 'static,
    ) -> &mut Self {
        let take = move |origin| {
            let taken: Taken<M> = take(origin)?.into();
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

/// One origin that is taken over.
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

/// Takes over by the first rule that fits: the object's value, and its private state.
///
/// # Errors
/// When no rule is for this origin or for its version, or the author's code refuses.
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
