//! The value tree between wire format and typed models.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// Any value that the core can send. The schema decides how the value is decoded and encoded.
///
/// Lists and sets share [`Value::List`]; maps and objects share [`Value::Map`]. The schema distinguishes them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Not set.
    Null,
    /// Not known before apply.
    Unknown,
    /// Boolean.
    Bool(bool),
    /// Number of any size and precision.
    Number(Number),
    /// Text.
    String(String),
    /// Elements of a list (in order) or of a set (in any order).
    List(Vec<Value>),
    /// Entries of a map, or attributes of an object.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns true for [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns true for [`Value::Unknown`], and false for values that contain unknown values.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Returns true if neither the value nor a part of it is unknown.
    #[must_use]
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::List(items) => items.iter().all(Self::is_wholly_known),
            Self::Map(entries) => entries.values().all(Self::is_wholly_known),
            _ => true,
        }
    }

    /// Returns the attribute of an object or the entry of a map; [`Value::Null`] if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Self::Map(entries) => entries.get(name).unwrap_or(&Self::Null),
            _ => &Self::Null,
        }
    }

    /// Returns a description of the value's type for messages, without the content.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Unknown => "an unknown value",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// Shows the type only, because a value may contain a secret and the schema is not available here.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(items) => write!(f, "List[{}]", items.len()),
            Self::Map(entries) => f.debug_set().entries(entries.keys()).finish(),
            other => f.write_str(other.shape()),
        }
    }
}

/// A decimal number of any size, stored as canonical text so that equal numbers are equal values.
///
/// Cores compute with 512 bits. They send `0.1` as text, because no `f64` is exactly `0.1`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(String);

impl Number {
    /// Parses decimal text such as `-12`, `0.1` or `1.5e-7`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > 2000 {
            return None;
        }
        let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
        Some(Self(place_point(negative, &digits, point)))
    }

    /// Returns the number as `i64` if it is integral and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// Returns the nearest `f64`.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    /// Returns true if the number is negative, the digits before the point, and the digits after it.
    fn parts(&self) -> (bool, &str, &str) {
        let (negative, unsigned) = self.0.strip_prefix('-').map_or((false, self.0.as_str()), |rest| (true, rest));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        (negative, whole, fraction)
    }

    /// Returns canonical decimal text, without exponent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Number {
    fn default() -> Self {
        Self("0".to_owned())
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let (negative, whole, fraction) = self.parts();
        let (other_negative, other_whole, other_fraction) = other.parts();
        // Without leading and trailing zeros, length and then text decide.
        let magnitude = (whole.len(), whole, fraction).cmp(&(other_whole.len(), other_whole, other_fraction));
        match (negative, other_negative) {
            (false, false) => magnitude,
            (true, true) => magnitude.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns `digits` with the decimal point after `point` digits, without superfluous zeros.
fn place_point(negative: bool, digits: &str, point: i64) -> String {
    let (whole, fraction) = if point <= 0 {
        let zeros = usize::try_from(-point).unwrap_or_default();
        (String::new(), format!("{}{digits}", "0".repeat(zeros)))
    } else {
        let at = usize::try_from(point).unwrap_or_default();
        if at >= digits.len() {
            (format!("{digits}{}", "0".repeat(at - digits.len())), String::new())
        } else {
            (digits[..at].to_owned(), digits[at..].to_owned())
        }
    };
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative && !(whole == "0" && fraction.is_empty()) { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(value.to_string())
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_size() {
        let ascending = ["-12.5", "-12.25", "-2", "-0.1", "0", "0.05", "0.1", "9", "10", "10.5", "9007199254740993"];
        let numbers = ascending.map(|text| Number::parse(text).expect("number"));
        assert!(numbers.is_sorted());
        assert!(numbers.iter().zip(&numbers[1..]).all(|(one, next)| one < next));
    }
}
