//! Serializes a [`Secret`] in the private data of an ephemeral resource: `#[serde(with = "tf_provider::exposed")]`.
//!
//! The secret becomes plain text. Never use this for data that a core stores, such as
//! [`Call::set_private`](crate::Call::set_private).

use serde::{Deserialize, Deserializer, Serializer};

use crate::attr::Secret;

/// Serializes the text of the secret.
///
/// # Errors
/// Fails if the serializer fails.
pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// Deserializes text as a secret.
///
/// # Errors
/// Fails if the value is not text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
