//! A [`Secret`] inside the private data of an ephemeral resource: `#[serde(with = "tf_provider::exposed")]`.
//!
//! It is written as plain text. Never use it for what a core stores, such as [`Call::set_private`](crate::Call::set_private).

use serde::{Deserialize, Deserializer, Serializer};

use crate::attr::Secret;

/// Writes the text itself.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// Reads text.
///
/// # Errors
/// When it is not text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
