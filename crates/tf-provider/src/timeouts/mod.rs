//! The `timeouts` attribute, which limits the duration of operations.

mod defaults;

use std::time::Duration;

use crate::attr::Attr;
use crate::check::custom;
use crate::element::{ValueError, decode_attr, encode_attr};
use crate::path::Path;
use crate::schema::{Attribute, Kind, Mode, Nesting, Type};
use crate::value::Value;
pub use defaults::Defaults;
pub(crate) use defaults::Operation;

/// Returns the nested attribute for these defaults. Derived code calls this.
#[must_use]
pub fn timeouts_attribute(defaults: &Defaults, description: &str) -> Attribute {
    let nested = defaults.declared().map(|(name, default)| {
        let text = format!("Time limit for {name}, such as `90s` or `1h30m`. Default `{default}`.");
        let mut attribute = Attribute::new(name, Kind::Plain(Type::String), Mode::Optional, &text);
        attribute.checks.push(custom::<String>(|text| parse(text).map(drop)));
        attribute
    });
    Attribute::new("timeouts", Kind::Nested(Nesting::Single, nested.collect()), Mode::Optional, description)
}

/// The configured deadlines. The framework computes the deadline of each call from them. Resources only keep the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts(Attr<Vec<(String, Attr<String>)>>);

impl Timeouts {
    /// Converts the nested object. Derived code calls this.
    ///
    /// # Errors
    /// Fails if an entry is not text.
    pub fn from_value(value: &Value, path: &Path) -> Result<Self, ValueError> {
        let Value::Map(entries) = value else {
            return Ok(Self(if value.is_unknown() { Attr::Unknown } else { Attr::Null }));
        };
        let entries = entries.iter().map(|(name, value)| Ok((name.clone(), decode_attr(value, &path.then(name))?)));
        Ok(Self(Attr::Known(entries.collect::<Result<_, ValueError>>()?)))
    }

    /// Returns the nested object. Derived code calls this.
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

/// Parses durations such as `90s`, `30m`, `1h30m`, `500ms`.
///
/// # Errors
/// Fails with a description of the expected form.
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
