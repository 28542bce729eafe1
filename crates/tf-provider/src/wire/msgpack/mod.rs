//! Converts between MessagePack and [`Value`]s by the declared type: a number may be text, and a set is an array.

use std::collections::BTreeMap;

use rmp::{Marker, decode, encode};

use crate::path::Path;
use crate::schema::Type;
use crate::value::{Number, Value};

/// Limit for nesting, deeper than any schema. Input from outside must not exhaust the stack.
const DEPTH: usize = 64;

/// An error in bytes that are not a value of the declared type.
#[derive(Debug, thiserror::Error)]
#[error("malformed value at \"{path}\": {problem}")]
pub(crate) struct DecodeError {
    path: Path,
    problem: String,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// Decodes a value of the declared type. The bytes must end with it.
pub(crate) fn decode(bytes: &[u8], wanted: &Type) -> Result<Value> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(wanted, &Path::root())?;
    if reader.rest.is_empty() { Ok(value) } else { Err(problem(&Path::root(), "bytes follow the value")) }
}

fn problem(path: &Path, problem: impl Into<String>) -> DecodeError {
    DecodeError { path: path.clone(), problem: problem.into() }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn value(&mut self, wanted: &Type, path: &Path) -> Result<Value> {
        if path.steps().len() > DEPTH {
            return Err(problem(path, "nested too deeply"));
        }
        match self.peek(path)? {
            Marker::Null => {
                self.rest = &self.rest[1..];
                return Ok(Value::Null);
            }
            marker if is_extension(marker) => return self.unknown(path),
            _ => {}
        }
        match wanted {
            Type::Bool => decode::read_bool(&mut self.rest).map(Value::Bool).map_err(|_| problem(path, "no bool")),
            Type::Number => self.number(path),
            Type::String => self.text(path).map(Value::String),
            Type::List(element) | Type::Set(element) => self.list(element, path),
            Type::Map(element) => self.map(path, |_| Some(element.as_ref())).map(Value::Map),
            Type::Object(attributes) => self.object(attributes, path),
        }
    }

    fn peek(&self, path: &Path) -> Result<Marker> {
        self.rest.first().map(|byte| Marker::from_u8(*byte)).ok_or_else(|| problem(path, "ends too early"))
    }

    /// Decodes an extension as an unknown value. Type 0 is a plain unknown value; type 12 also carries refinements,
    /// which are ignored.
    fn unknown(&mut self, path: &Path) -> Result<Value> {
        let meta = decode::read_ext_meta(&mut self.rest).map_err(|_| problem(path, "no extension"))?;
        self.take(meta.size as usize, path)?;
        Ok(Value::Unknown)
    }

    fn take(&mut self, length: usize, path: &Path) -> Result<&[u8]> {
        if length > self.rest.len() {
            return Err(problem(path, "ends too early"));
        }
        let (head, tail) = self.rest.split_at(length);
        self.rest = tail;
        Ok(head)
    }

    fn number(&mut self, path: &Path) -> Result<Value> {
        let number = match self.peek(path)? {
            Marker::F32 => decode::read_f32(&mut self.rest).ok().and_then(|f| finite(f64::from(f))),
            Marker::F64 => decode::read_f64(&mut self.rest).ok().and_then(finite),
            Marker::U64 => decode::read_u64(&mut self.rest).ok().map(Number::from),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Number::parse(&self.text(path)?),
            _ => decode::read_int::<i64, _>(&mut self.rest).ok().map(Number::from),
        };
        number.map(Value::Number).ok_or_else(|| problem(path, "no number"))
    }

    fn text(&mut self, path: &Path) -> Result<String> {
        let length = decode::read_str_len(&mut self.rest).map_err(|_| problem(path, "no text"))?;
        let bytes = self.take(length as usize, path)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| problem(path, "text is not UTF-8"))
    }

    fn list(&mut self, element: &Type, path: &Path) -> Result<Value> {
        let length = decode::read_array_len(&mut self.rest).map_err(|_| problem(path, "no list"))?;
        let items = (0..length as usize).map(|index| self.value(element, &path.index(index)));
        items.collect::<Result<Vec<_>>>().map(Value::List)
    }

    fn object(&mut self, attributes: &BTreeMap<String, Type>, path: &Path) -> Result<Value> {
        let mut entries = self.map(path, |name| attributes.get(name))?;
        for name in attributes.keys() {
            entries.entry(name.clone()).or_insert(Value::Null);
        }
        Ok(Value::Map(entries))
    }

    fn map<'t>(&mut self, path: &Path, type_of: impl Fn(&str) -> Option<&'t Type>) -> Result<BTreeMap<String, Value>> {
        let length = decode::read_map_len(&mut self.rest).map_err(|_| problem(path, "no object"))?;
        let mut entries = BTreeMap::new();
        for _ in 0..length {
            let name = self.text(path)?;
            let below = path.then(&name);
            let wanted = type_of(&name).ok_or_else(|| problem(&below, "not declared"))?;
            let value = self.value(wanted, &below)?;
            entries.insert(name, value);
        }
        Ok(entries)
    }
}

fn is_extension(marker: Marker) -> bool {
    use Marker::{Ext8, Ext16, Ext32, FixExt1, FixExt2, FixExt4, FixExt8, FixExt16};
    matches!(marker, FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 | Ext8 | Ext16 | Ext32)
}

fn finite(float: f64) -> Option<Number> {
    Number::parse(&float.to_string())
}

/// Encodes a value of the declared type. Attributes that an object value lacks are encoded as null.
pub(crate) fn encode(value: &Value, declared: &Type) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing to memory cannot fail.
    let _ = write(&mut bytes, value, declared);
    bytes
}

type Written = std::result::Result<(), encode::ValueWriteError>;

fn write(bytes: &mut Vec<u8>, value: &Value, declared: &Type) -> Written {
    match (value, declared) {
        (Value::Unknown, _) => {
            bytes.extend_from_slice(&[0xd4, 0x00, 0x00]);
            Ok(())
        }
        (Value::Bool(value), Type::Bool) => {
            encode::write_bool(bytes, *value).map_err(encode::ValueWriteError::InvalidMarkerWrite)
        }
        (Value::Number(number), Type::Number) => write_number(bytes, number),
        (Value::String(text), Type::String) => encode::write_str(bytes, text),
        (Value::List(items), Type::List(element) | Type::Set(element)) => {
            encode::write_array_len(bytes, count(items.len()))?;
            items.iter().try_for_each(|item| write(bytes, item, element))
        }
        (Value::Map(entries), Type::Map(element)) => {
            encode::write_map_len(bytes, count(entries.len()))?;
            entries.iter().try_for_each(|(key, item)| {
                encode::write_str(bytes, key)?;
                write(bytes, item, element)
            })
        }
        (Value::Map(_), Type::Object(attributes)) => {
            encode::write_map_len(bytes, count(attributes.len()))?;
            attributes.iter().try_for_each(|(name, attribute)| {
                encode::write_str(bytes, name)?;
                write(bytes, value.get(name), attribute)
            })
        }
        // Null, and values of another type, which cannot occur because the type and the values come from the same
        // declaration.
        _ => encode::write_nil(bytes).map_err(encode::ValueWriteError::InvalidMarkerWrite),
    }
}

/// Encodes whole numbers as integers, and all others as text, which cores read with full precision.
fn write_number(bytes: &mut Vec<u8>, number: &Number) -> Written {
    match number.as_i64() {
        Some(integer) => encode::write_sint(bytes, integer).map(drop),
        None => encode::write_str(bytes, number.as_str()),
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
