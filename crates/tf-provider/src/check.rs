//! Checks of known values. Derived code creates them.

use std::borrow::Borrow;
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::element::{Choice, Element, HasLength, Ranged};
use crate::path::Path;
use crate::schema::{Check, Equality, ReplaceWhen};
use crate::value::Value;

/// Returns the check of `range(1..=128)`: the number is in the range.
pub fn range<T: Ranged>(limits: impl RangeBounds<T> + Send + Sync + 'static) -> Check {
    let rule = range_text(&limits);
    let text = rule.clone();
    typed(
        Some(rule),
        move |value: &T| {
            if limits.contains(value) { Ok(()) } else { Err(format!("must be {text}, got {value}")) }
        },
    )
}

/// Returns the check of `length(1..=40)`, the number of characters or elements.
pub fn length<T: HasLength>(limits: impl RangeBounds<usize> + Send + Sync + 'static) -> Check {
    let text = range_text(&limits);
    typed(Some(format!("of length {text}")), move |value: &T| {
        let length = value.length();
        if limits.contains(&length) { Ok(()) } else { Err(format!("length must be {text}, got {length}")) }
    })
}

/// Returns the check of `one_of("a", "b")`: the text is one of these.
pub fn one_of<T: Choice>(choices: &'static [&'static str]) -> Check {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    let text = format!("one of {}", quoted.join(", "));
    typed(Some(text.clone()), move |value: &T| {
        if choices.contains(&value.as_ref()) {
            return Ok(());
        }
        Err(format!("must be {text}, got \"{}\"", value.as_ref()))
    })
}

/// Returns the check of `validate = path`, which calls the author's function.
pub fn custom<T: Element>(check: fn(&T::Borrowed) -> Result<(), String>) -> Check {
    typed(None, move |value: &T| check(value.borrow()))
}

/// Returns the comparison of `equal = path`: true if two values mean the same to the server.
pub fn equality<T: Element>(equal: fn(&T::Borrowed, &T::Borrowed) -> bool) -> Equality {
    Arc::new(move |one, other| match (decode::<T>(one), decode::<T>(other)) {
        (Some(one), Some(other)) => {
            // The comparison also runs after the object was created. A panic would then lose the object.
            let call = AssertUnwindSafe(|| equal(one.borrow(), other.borrow()));
            catch_unwind(call).unwrap_or_else(|_| {
                tracing::error!("the comparison of two values panicked; they count as different");
                false
            })
        }
        _ => false,
    })
}

/// Decides from prior and planned value, which are `None` if null.
type Decide<T> = fn(Option<&T>, Option<&T>) -> bool;

/// Returns the rule of `replace_if = path`. A planned value that is not known yet counts as a replacement.
pub fn replace_when<T: Element>(decide: Decide<T::Borrowed>) -> ReplaceWhen {
    Arc::new(move |prior, planned| {
        if !planned.is_wholly_known() {
            return true;
        }
        let (prior, planned) = (decode::<T>(prior), decode::<T>(planned));
        decide(prior.as_ref().map(Borrow::borrow), planned.as_ref().map(Borrow::borrow))
    })
}

fn typed<T: Element>(rule: Option<String>, check: impl Fn(&T) -> Result<(), String> + Send + Sync + 'static) -> Check {
    Check::new(rule, move |value| decode::<T>(value).map_or(Ok(()), |value| check(&value)))
}

fn decode<T: Element>(value: &Value) -> Option<T> {
    if value.is_null() || value.is_unknown() {
        return None;
    }
    T::decode(value, &Path::root()).ok().flatten()
}

fn range_text<T: std::fmt::Display>(limits: &impl RangeBounds<T>) -> String {
    let low = match limits.start_bound() {
        Bound::Included(low) => Some(format!("at least {low}")),
        Bound::Excluded(low) => Some(format!("more than {low}")),
        Bound::Unbounded => None,
    };
    let high = match limits.end_bound() {
        Bound::Included(high) => Some(format!("at most {high}")),
        Bound::Excluded(high) => Some(format!("less than {high}")),
        Bound::Unbounded => None,
    };
    low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
}
