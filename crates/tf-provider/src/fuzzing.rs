//! Entry points for fuzz targets: private code that decodes bytes from outside. Each function panics if an invariant
//! does not hold.

use std::collections::BTreeMap;

use crate::schema::Type;
use crate::serve::{handshake, tls};
use crate::wire::{json, msgpack};

/// Chooses one of a few types by the first byte of the input. Together they have every kind of type.
fn chosen(input: &[u8]) -> Option<(Type, &[u8])> {
    let (first, rest) = input.split_first()?;
    let part = Type::Object(BTreeMap::from([
        ("size".to_owned(), Type::Number),
        ("label".to_owned(), Type::String),
        ("on".to_owned(), Type::Bool),
        ("words".to_owned(), Type::List(Box::new(Type::String))),
    ]));
    let wanted = match first % 6 {
        0 => Type::Number,
        1 => Type::String,
        2 => Type::Set(Box::new(Type::Number)),
        3 => Type::Map(Box::new(part)),
        4 => part,
        _ => Type::Object(BTreeMap::from([
            ("parts".to_owned(), Type::List(Box::new(part.clone()))),
            ("one".to_owned(), part),
        ])),
    };
    Some((wanted, rest))
}

/// Decodes a value as cores send it. Encoding and decoding it again gives the same value.
///
/// # Panics
/// Panics if the values differ.
pub fn messagepack(input: &[u8]) {
    let Some((wanted, bytes)) = chosen(input) else { return };
    let Ok(value) = msgpack::decode(bytes, &wanted) else { return };
    let again = msgpack::decode(&msgpack::encode(&value, &wanted), &wanted);
    assert!(again.is_ok_and(|again| again == value), "encoding changed the value");
}

/// Decodes state as cores store it. Only JSON is accepted, and each decoded value can be sent to a core.
///
/// # Panics
/// Panics if one of these does not hold.
pub fn stored_state(input: &[u8]) {
    let Some((wanted, bytes)) = chosen(input) else { return };
    let Ok(stored) = json::parse(bytes) else { return };
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok(), "accepted input that is not JSON");
    let Ok(value) = json::decode(&stored, &wanted) else { return };
    let sent = msgpack::decode(&msgpack::encode(&value, &wanted), &wanted);
    assert!(sent.is_ok_and(|sent| sent == value), "encoding changed the value");
}

/// Reads the environment that a core starts the provider with: lines of `NAME=value`, with `\` for a line feed in a
/// value.
pub fn environment(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let variables: BTreeMap<&str, String> = lines.map(|(name, value)| (name, value.replace('\\', "\n"))).collect();
    match handshake::read(|name| variables.get(name).cloned()) {
        Ok(handshake::Start::Core(start)) => {
            let _ = start.client_certificate.map(|pem| tls::pinned(&pem).is_ok());
        }
        Ok(handshake::Start::Reattach(_)) => {}
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}

/// Verifies a peer's signature. The input has the lengths of key and message in two bytes, then key, message,
/// signature.
pub fn signature(input: &[u8]) {
    let [key, message, rest @ ..] = input else { return };
    let (key, message) = (usize::from(*key), usize::from(*message));
    if rest.len() < key + message {
        return;
    }
    let (key, rest) = rest.split_at(key);
    let (message, signature) = rest.split_at(message);
    let _ = tls::verify_p521(key, message, signature);
}
