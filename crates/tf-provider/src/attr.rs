//! The three states of an attribute, and secrets.

use secrecy::{ExposeSecret, SecretString};

use crate::diagnostic::Diagnostic;

/// The value of an attribute: not set, not known yet, or known.
///
/// `Ord` exists for the elements of sets. It orders null, then unknown, then known values by their own order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attr<T> {
    /// Not set.
    #[default]
    Null,
    /// Set, but not known before apply.
    Unknown,
    /// Known.
    Known(T),
}

impl<T> Attr<T> {
    /// Returns the value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value, if it is known.
    pub fn into_known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value, or an error that names the attribute. Read and computed attributes need this.
    ///
    /// # Errors
    /// Fails if the value is null or unknown.
    pub fn require(&self, attribute: &str) -> Result<&T, Diagnostic> {
        self.known().ok_or_else(|| {
            let state = if self.is_null() { "not set" } else { "not known yet" };
            Diagnostic::error("Missing value", format!("\"{attribute}\" is {state}, but is needed here.")).at(attribute)
        })
    }

    /// Returns true if the attribute is not set.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns true if the value is not known before apply.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

impl<T: Clone> Attr<T> {
    /// Returns the value if known, otherwise `fallback`.
    pub fn known_or(&self, fallback: T) -> T {
        self.known().cloned().unwrap_or(fallback)
    }
}

impl Attr<String> {
    /// Returns the text if known.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.known().map(String::as_str)
    }
}

impl<T> From<T> for Attr<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl From<&str> for Attr<String> {
    fn from(value: &str) -> Self {
        Self::Known(value.to_owned())
    }
}

impl<T> From<Option<T>> for Attr<T> {
    /// Converts `None` to null.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::Known)
    }
}

/// Text that must not be shown. It has no `Debug` and no `Display`, so a model that contains a secret cannot be logged.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Returns the text, for the one place that passes it on.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the text as the type that clients take.
    #[must_use]
    pub fn into_inner(self) -> SecretString {
        self.0
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new("")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}
