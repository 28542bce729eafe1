//! The `timeouts` attribute: how long an operation may take.

use std::time::Duration;

use crate::attr::Attr;
use crate::element::{ValueError, decode_attr, encode_attr};
use crate::path::Path;
use crate::schema::{Attribute, Kind, Mode, Nesting, Type};
use crate::value::Value;

/// The four operations that a deadline can be set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Making the object.
    Create,
    /// Looking at it.
    Read,
    /// Changing it.
    Update,
    /// Removing it.
    Delete,
}

/// Deadlines that a model declares with `#[tf(timeouts(create = "30m", …))]`, in the form `90s`, `30m`, `1h30m`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    /// For create.
    pub create: Option<&'static str>,
    /// For read.
    pub read: Option<&'static str>,
    /// For update.
    pub update: Option<&'static str>,
    /// For delete.
    pub delete: Option<&'static str>,
}

impl Defaults {
    /// The declared text for an operation.
    pub(crate) fn of(&self, operation: Operation) -> Option<&'static str> {
        match operation {
            Operation::Create => self.create,
            Operation::Read => self.read,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }

    fn declared(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [("create", self.create), ("read", self.read), ("update", self.update), ("delete", self.delete)];
        all.into_iter().filter_map(|(name, default)| Some((name, default?)))
    }

    /// The nested attribute that these defaults make.
    #[must_use]
    pub fn attribute(&self, description: &str) -> Attribute {
        let nested = self.declared().map(|(name, default)| {
            let text = format!("How long {name} may take, such as `90s` or `1h30m`. Default `{default}`.");
            let mut attribute = Attribute::new(name, Kind::Plain(Type::String), Mode::Optional, &text);
            attribute.checks.push(crate::check::custom::<String>(|text| parse(text).map(drop)));
            attribute
        });
        Attribute::new("timeouts", Kind::Nested(Nesting::Single, nested.collect()), Mode::Optional, description)
    }
}

/// What the configuration says about deadlines. The framework turns it into the deadline of the call's context;
/// resources only carry it along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts(Attr<Vec<(String, Attr<String>)>>);

impl Timeouts {
    /// Reads the nested object; used by derived code.
    ///
    /// # Errors
    /// When an entry is not text.
    pub fn from_value(value: &Value, path: &Path) -> Result<Self, ValueError> {
        let Value::Map(entries) = value else {
            return Ok(Self(if value.is_unknown() { Attr::Unknown } else { Attr::Null }));
        };
        let entries = entries.iter().map(|(name, value)| Ok((name.clone(), decode_attr(value, &path.then(name))?)));
        Ok(Self(Attr::Known(entries.collect::<Result<_, ValueError>>()?)))
    }

    /// The nested object; used by derived code.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.0 {
            Attr::Null => Value::Null,
            Attr::Unknown => Value::Unknown,
            Attr::Known(entries) => {
                Value::Map(entries.iter().map(|(name, value)| (name.clone(), encode_attr(value))).collect())
            }
        }
    }
}

/// Reads `90s`, `30m`, `1h30m`, `500ms`.
///
/// # Errors
/// Text that says which form is wanted.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a duration such as \"90s\", \"30m\" or \"1h30m\", got \"{text}\"");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let amount: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let milliseconds: u64 = match &after[..end] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        total = total.saturating_add(Duration::from_millis(amount.checked_mul(milliseconds).ok_or_else(wrong)?));
        rest = &after[end..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}
