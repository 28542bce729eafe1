//! The functions that a template may call. They have the names and the results of the functions in Terraform.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use hcl::Value;
use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};
use sha2::Digest as _;

use super::encode;

type Outcome = Result<Value, String>;

/// Name, smallest and largest number of arguments (`None` for any number), and body.
type Entry = (&'static str, usize, Option<usize>, fn(FuncArgs) -> Outcome);

const TABLE: &[Entry] = &[
    ("abs", 1, Some(1), |args| Ok(tidy(Value::from(number(&args[0])?.abs())))),
    ("base64decode", 1, Some(1), base64decode),
    ("base64encode", 1, Some(1), |args| Ok(base64::engine::general_purpose::STANDARD.encode(text(&args[0])?).into())),
    ("ceil", 1, Some(1), |args| Ok(tidy(Value::from(number(&args[0])?.ceil())))),
    ("chomp", 1, Some(1), |args| Ok(text(&args[0])?.trim_end_matches(['\r', '\n']).into())),
    ("coalesce", 1, None, coalesce),
    ("compact", 1, Some(1), |args| {
        Ok(list(&args[0])?.iter().filter(|item| !item.is_null() && item.as_str() != Some("")).cloned().collect())
    }),
    ("concat", 1, None, concat),
    ("contains", 2, Some(2), |args| Ok(list(&args[0])?.iter().any(|item| same(item, &args[1])).into())),
    ("distinct", 1, Some(1), |args| Ok(Value::Array(distinct(list(&args[0])?)))),
    ("element", 2, Some(2), element),
    ("endswith", 2, Some(2), |args| Ok(text(&args[0])?.ends_with(&text(&args[1])?).into())),
    ("flatten", 1, Some(1), |args| Ok(Value::Array(flatten(list(&args[0])?)))),
    ("floor", 1, Some(1), |args| Ok(tidy(Value::from(number(&args[0])?.floor())))),
    ("format", 1, None, |args| format_text(&text(&args[0])?, &args[1..]).map(Value::from)),
    ("indent", 2, Some(2), indent),
    ("join", 2, None, join),
    ("jsondecode", 1, Some(1), jsondecode),
    ("jsonencode", 1, Some(1), |args| Ok(encode::json(&args[0]).into())),
    ("keys", 1, Some(1), |args| Ok(object(&args[0])?.into_keys().map(Value::from).collect())),
    ("length", 1, Some(1), length),
    ("lookup", 2, Some(3), lookup),
    ("lower", 1, Some(1), |args| Ok(text(&args[0])?.to_lowercase().into())),
    ("max", 1, None, |args| fold(&args, f64::max)),
    ("merge", 0, None, merge),
    ("min", 1, None, |args| fold(&args, f64::min)),
    ("range", 1, Some(2), range),
    ("replace", 3, Some(3), replace),
    ("reverse", 1, Some(1), |args| Ok(list(&args[0])?.iter().rev().cloned().collect())),
    ("sha256", 1, Some(1), |args| Ok(hex::encode(sha2::Sha256::digest(text(&args[0])?)).into())),
    ("sort", 1, Some(1), sort),
    ("split", 2, Some(2), split),
    ("startswith", 2, Some(2), |args| Ok(text(&args[0])?.starts_with(&text(&args[1])?).into())),
    ("substr", 3, Some(3), substr),
    ("title", 1, Some(1), |args| Ok(title(&text(&args[0])?).into())),
    ("tobool", 1, Some(1), |args| as_bool(&args[0]).map(Value::from)),
    ("tolist", 1, Some(1), |args| list(&args[0]).map(|items| Value::Array(items.clone()))),
    ("tonumber", 1, Some(1), |args| number(&args[0]).map(Value::from).map(tidy)),
    ("tostring", 1, Some(1), |args| text(&args[0]).map(Value::from)),
    ("trim", 2, Some(2), trim),
    ("trimprefix", 2, Some(2), trimprefix),
    ("trimspace", 1, Some(1), |args| Ok(text(&args[0])?.trim().into())),
    ("trimsuffix", 2, Some(2), trimsuffix),
    ("upper", 1, Some(1), |args| Ok(text(&args[0])?.to_uppercase().into())),
    ("values", 1, Some(1), |args| Ok(object(&args[0])?.into_values().collect())),
    ("yamlencode", 1, Some(1), |args| Ok(encode::yaml(&args[0]).into())),
];

/// Declares all functions of the table.
pub(super) fn declare(context: &mut Context<'static>) {
    for (name, least, most, body) in TABLE {
        let mut definition = FuncDef::builder().params(std::iter::repeat_n(ParamType::Any, *least));
        if most.is_none_or(|most| most > *least) {
            definition = definition.variadic_param(ParamType::Any);
        }
        context.declare_func(hcl::Identifier::sanitized(name), definition.build(*body));
    }
}

/// Returns true if a template may call a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    TABLE.iter().any(|entry| entry.0 == name)
}

/// Returns all names, separated by commas.
pub(super) fn known() -> String {
    TABLE.iter().map(|entry| entry.0).collect::<Vec<_>>().join(", ")
}

/// Converts a scalar to text, by Terraform's conversion rules.
pub(super) fn as_text(value: &Value) -> Result<String, String> {
    text(value)
}

/// Converts a condition: a boolean, or the words `true` and `false`.
pub(super) fn as_bool(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(word) if word == "true" => Ok(true),
        Value::String(word) if word == "false" => Ok(false),
        other => Err(format!("a boolean is required, this is {}", super::kind_of(other))),
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(encode::number_text(number)),
        other => Err(format!("a string is required, this is {}", super::kind_of(other))),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    let found = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| format!("a number is required, this is {}", super::kind_of(value)))
}

fn whole(value: &Value) -> Result<i64, String> {
    let number = number(value)?;
    if number.fract() != 0.0 || number.abs() > 9e15 {
        return Err("a whole number is required".to_owned());
    }
    Ok(number as i64)
}

/// Turns a floating-point number without a fraction into an integer.
fn tidy(value: Value) -> Value {
    whole(&value).map(Value::from).unwrap_or(value)
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("a list is required, this is {}", super::kind_of(value)))
}

fn object(value: &Value) -> Result<BTreeMap<String, Value>, String> {
    let items = value.as_object().ok_or_else(|| format!("an object is required, this is {}", super::kind_of(value)))?;
    Ok(items.iter().map(|(key, item)| (key.clone(), item.clone())).collect())
}

fn same(left: &Value, right: &Value) -> bool {
    left == right || matches!((text(left), text(right)), (Ok(left), Ok(right)) if left == right)
}

fn distinct(items: &[Value]) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for item in items {
        if !seen.contains(item) {
            seen.push(item.clone());
        }
    }
    seen
}

fn flatten(items: &[Value]) -> Vec<Value> {
    items.iter().flat_map(|item| item.as_array().map_or_else(|| vec![item.clone()], |inner| flatten(inner))).collect()
}

fn fold(args: &[Value], pick: fn(f64, f64) -> f64) -> Outcome {
    let mut numbers = args.iter().map(number);
    let first = numbers.next().ok_or("a number is required")??;
    let result = numbers.try_fold(first, |best, next| next.map(|next| pick(best, next)))?;
    Ok(tidy(result.into()))
}

fn base64decode(args: FuncArgs) -> Outcome {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text(&args[0])?).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| "the decoded bytes are not UTF-8 text".to_owned())
}

fn coalesce(args: FuncArgs) -> Outcome {
    let found = args.iter().find(|item| !item.is_null() && item.as_str() != Some(""));
    found.cloned().ok_or_else(|| "every argument is null or empty".to_owned())
}

fn concat(args: FuncArgs) -> Outcome {
    let mut all = Vec::new();
    for argument in args.iter() {
        all.extend(list(argument)?.iter().cloned());
    }
    Ok(Value::Array(all))
}

fn element(args: FuncArgs) -> Outcome {
    let items = list(&args[0])?;
    let index = usize::try_from(whole(&args[1])?).map_err(|_| "a negative index has no element")?;
    if items.is_empty() {
        return Err("an empty list has no elements".to_owned());
    }
    Ok(items[index % items.len()].clone())
}

fn indent(args: FuncArgs) -> Outcome {
    let width = usize::try_from(whole(&args[0])?).map_err(|_| "a negative width")?;
    Ok(text(&args[1])?.replace('\n', &format!("\n{}", " ".repeat(width))).into())
}

fn join(args: FuncArgs) -> Outcome {
    let mut parts = Vec::new();
    for argument in &args[1..] {
        for item in list(argument)? {
            parts.push(text(item)?);
        }
    }
    Ok(parts.join(&text(&args[0])?).into())
}

fn jsondecode(args: FuncArgs) -> Outcome {
    let value: serde_json::Value = serde_json::from_str(&text(&args[0])?).map_err(|error| error.to_string())?;
    Ok(super::json_to_hcl(&value))
}

fn length(args: FuncArgs) -> Outcome {
    match &args[0] {
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(items) => Ok(items.len().into()),
        scalar => Ok(text(scalar)?.chars().count().into()),
    }
}

fn lookup(args: FuncArgs) -> Outcome {
    let key = text(&args[1])?;
    let found = object(&args[0])?.remove(&key).or_else(|| args.get(2).cloned());
    found.ok_or_else(|| format!("there is no key \"{key}\" and no default"))
}

fn merge(args: FuncArgs) -> Outcome {
    let mut all = BTreeMap::new();
    for argument in args.iter().filter(|argument| !argument.is_null()) {
        all.extend(object(argument)?);
    }
    Ok(all.into_iter().collect())
}

fn range(args: FuncArgs) -> Outcome {
    let (from, to) = match args.get(1) {
        Some(to) => (whole(&args[0])?, whole(to)?),
        None => (0, whole(&args[0])?),
    };
    if to.abs_diff(from) > 1024 {
        return Err("more than 1024 numbers".to_owned());
    }
    let numbers: Vec<Value> = if from <= to {
        (from..to).map(Value::from).collect()
    } else {
        (to + 1..=from).rev().map(Value::from).collect()
    };
    Ok(Value::Array(numbers))
}

fn replace(args: FuncArgs) -> Outcome {
    let pattern = text(&args[1])?;
    if pattern.len() > 1 && pattern.starts_with('/') && pattern.ends_with('/') {
        return Err("regular expressions are not supported here".to_owned());
    }
    Ok(text(&args[0])?.replace(&pattern, &text(&args[2])?).into())
}

fn sort(args: FuncArgs) -> Outcome {
    let mut items = list(&args[0])?.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    items.sort();
    Ok(items.into_iter().map(Value::from).collect())
}

fn split(args: FuncArgs) -> Outcome {
    let (separator, whole) = (text(&args[0])?, text(&args[1])?);
    if whole.is_empty() {
        return Ok(Value::Array(vec![Value::from("")]));
    }
    if separator.is_empty() {
        return Ok(whole.chars().map(|character| Value::from(character.to_string())).collect());
    }
    Ok(whole.split(separator.as_str()).map(Value::from).collect())
}

fn substr(args: FuncArgs) -> Outcome {
    let whole_text: Vec<char> = text(&args[0])?.chars().collect();
    let offset = whole(&args[1])?;
    let start = if offset < 0 {
        whole_text.len().saturating_sub(usize::try_from(-offset).unwrap_or(usize::MAX))
    } else {
        usize::try_from(offset).unwrap_or(usize::MAX)
    };
    let rest = whole_text.get(start.min(whole_text.len())..).unwrap_or_default();
    let length = match whole(&args[2])? {
        -1 => rest.len(),
        length => usize::try_from(length).map_err(|_| "a negative length")?.min(rest.len()),
    };
    Ok(rest[..length].iter().collect::<String>().into())
}

fn title(words: &str) -> String {
    let mut at_start = true;
    let mut out = String::with_capacity(words.len());
    for character in words.chars() {
        if at_start {
            out.extend(character.to_uppercase());
        } else {
            out.push(character);
        }
        at_start = character.is_whitespace();
    }
    out
}

fn trim(args: FuncArgs) -> Outcome {
    let cut: Vec<char> = text(&args[1])?.chars().collect();
    Ok(text(&args[0])?.trim_matches(cut.as_slice()).into())
}

fn trimprefix(args: FuncArgs) -> Outcome {
    let (whole, prefix) = (text(&args[0])?, text(&args[1])?);
    Ok(whole.strip_prefix(prefix.as_str()).unwrap_or(&whole).into())
}

fn trimsuffix(args: FuncArgs) -> Outcome {
    let (whole, suffix) = (text(&args[0])?, text(&args[1])?);
    Ok(whole.strip_suffix(suffix.as_str()).unwrap_or(&whole).into())
}

/// Formats `%s %d %v %q %f %t %%` with width, zero padding, `-` and precision. Other verbs, and a wrong number of arguments, are errors.
fn format_text(pattern: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = args.iter();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut flags = String::new();
        while let Some(next) =
            characters.peek().copied().filter(|next| next.is_ascii_digit() || matches!(next, '-' | '.' | '+'))
        {
            flags.push(next);
            characters.next();
        }
        match characters.next() {
            Some('%') => out.push('%'),
            Some(verb) => {
                let value = rest.next().ok_or_else(|| format!("there is no argument for %{flags}{verb}"))?;
                pad(&mut out, &flags, verb, value)?;
            }
            None => return Err("the format ends in the middle of a verb".to_owned()),
        }
    }
    match rest.next() {
        Some(_) => Err("there are more arguments than verbs".to_owned()),
        None => Ok(out),
    }
}

fn pad(out: &mut String, flags: &str, verb: char, value: &Value) -> Result<(), String> {
    let left = flags.contains('-');
    let numeric = flags.trim_start_matches(['-', '+']);
    let (width, precision) =
        numeric.split_once('.').map_or((numeric, None), |(width, precision)| (width, Some(precision)));
    let zero = width.starts_with('0') && !left;
    let width: usize = if width.is_empty() { 0 } else { width.parse().map_err(|_| "a width that is not a number")? };
    let precision: usize = precision.map_or(Ok(6), str::parse).map_err(|_| "the precision is not a number")?;
    let body = match verb {
        's' => text(value)?,
        'v' => text(value).unwrap_or_else(|_| encode::json(value)),
        'd' => whole(value)?.to_string(),
        't' => as_bool(value)?.to_string(),
        'f' => format!("{:.precision$}", number(value)?),
        'q' => encode::json(&Value::String(text(value)?)),
        other => return Err(format!("%{other} is not supported here")),
    };
    let written = match (left, zero && matches!(verb, 'd' | 'f')) {
        (true, _) => write!(out, "{body:<width$}"),
        (_, true) => match body.strip_prefix('-') {
            Some(digits) => write!(out, "-{digits:0>width$}", width = width.saturating_sub(1)),
            None => write!(out, "{body:0>width$}"),
        },
        _ => write!(out, "{body:>width$}"),
    };
    written.map_err(|error| error.to_string())
}
