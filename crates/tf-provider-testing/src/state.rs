//! Stored state.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::Failed;

/// The attributes of a resource as they are stored: numbers keep all digits.
pub type Attributes = BTreeMap<String, Box<RawValue>>;

/// A stored state, version 4 of its format.
#[derive(Debug, Clone, Default)]
pub struct State {
    text: String,
    resources: Vec<StoredResource>,
}

/// An instance of a managed resource.
#[derive(Debug, Clone)]
pub struct StoredResource {
    /// Address, as in `paper_note.it` or `paper_note.it[0]`.
    pub address: String,
    /// Attributes of the instance.
    pub attributes: Value,
    /// True if the creation failed half-way, so that the instance will be replaced.
    pub tainted: bool,
    /// Version of the schema in the state.
    pub schema_version: i64,
    raw: Attributes,
}

impl StoredResource {
    /// Returns an attribute as JSON text, with all digits of a number.
    #[must_use]
    pub fn raw(&self, attribute: &str) -> Option<&str> {
        self.raw.get(attribute).map(|value| value.get())
    }

    /// Asserts the value of an attribute.
    ///
    /// # Errors
    /// Fails if the value is another, and names both values.
    pub fn has(&self, attribute: &str, expected: impl Into<Value>) -> Result<&Self, Failed> {
        let (expected, is) = (expected.into(), &self.attributes[attribute]);
        if *is == expected {
            return Ok(self);
        }
        Err(Failed::new(format!("{}.{attribute} is {is}, expected {expected}", self.address)))
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    module: Option<String>,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    index_key: Option<Value>,
    status: Option<String>,
    #[serde(default)]
    schema_version: i64,
    attributes: Option<Box<RawValue>>,
}

impl State {
    pub(crate) fn parse(text: String) -> Result<Self, Failed> {
        let unreadable = |error: serde_json::Error| Failed::new(format!("reading the state: {error}"));
        let file: File = serde_json::from_str(&text).map_err(unreadable)?;
        let mut resources = Vec::new();
        for resource in file.resources.into_iter().filter(|resource| resource.mode == "managed") {
            let module = resource.module.map(|module| format!("{module}.")).unwrap_or_default();
            for instance in resource.instances {
                let key = instance.index_key.map(|key| format!("[{key}]")).unwrap_or_default();
                let attributes = instance.attributes.as_deref().map_or("{}", RawValue::get);
                resources.push(StoredResource {
                    address: format!("{module}{}.{}{key}", resource.kind, resource.name),
                    attributes: serde_json::from_str(attributes).map_err(unreadable)?,
                    tainted: instance.status.as_deref() == Some("tainted"),
                    schema_version: instance.schema_version,
                    raw: serde_json::from_str(attributes).map_err(unreadable)?,
                });
            }
        }
        Ok(Self { text, resources })
    }

    /// Returns all instances of managed resources.
    #[must_use]
    pub fn resources(&self) -> &[StoredResource] {
        &self.resources
    }

    /// Returns a resource, if the state has it.
    #[must_use]
    pub fn find(&self, address: &str) -> Option<&StoredResource> {
        self.resources.iter().find(|resource| resource.address == address)
    }

    /// Returns a resource.
    ///
    /// # Errors
    /// Fails if the state does not have it.
    pub fn resource(&self, address: &str) -> Result<&StoredResource, Failed> {
        self.find(address).ok_or_else(|| {
            let known: Vec<&str> = self.resources.iter().map(|resource| resource.address.as_str()).collect();
            Failed::new(format!("{address} is not in the state, which has {known:?}"))
        })
    }

    /// Returns the state as it is stored; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns a state in which resources of a type have another schema version and changed attributes.
pub(crate) fn downgraded(
    text: &str,
    kind: &str,
    version: i64,
    change: fn(&mut Attributes),
) -> Result<String, serde_json::Error> {
    let mut file: Attributes = serde_json::from_str(text)?;
    let mut resources: Vec<Attributes> =
        file.get("resources").map_or(Ok(Vec::new()), |all| serde_json::from_str(all.get()))?;
    let of_that_type = |resource: &&mut Attributes| {
        resource.get("type").and_then(|kind| serde_json::from_str::<String>(kind.get()).ok()).as_deref() == Some(kind)
    };
    for resource in resources.iter_mut().filter(of_that_type) {
        let Some(instances) = resource.get("instances") else { continue };
        let mut instances: Vec<Attributes> = serde_json::from_str(instances.get())?;
        for instance in &mut instances {
            let attributes = instance.get("attributes").map_or("{}", |all| all.get());
            let mut attributes: Attributes = serde_json::from_str(attributes)?;
            change(&mut attributes);
            instance.insert("attributes".to_owned(), to_raw_value(&attributes)?);
            instance.insert("schema_version".to_owned(), to_raw_value(&version)?);
        }
        resource.insert("instances".to_owned(), to_raw_value(&instances)?);
    }
    file.insert("resources".to_owned(), to_raw_value(&resources)?);
    serde_json::to_string(&file)
}

#[cfg(test)]
mod tests {
    use super::{State, downgraded};

    #[test]
    fn a_state_is_downgraded_without_losing_a_digit() {
        let text = r#"{"version":4,"resources":[{"type":"a","mode":"managed","name":"b","instances":[{"schema_version":2,"attributes":{"n":1180591620717411303425,"new":1}}]}]}"#;
        let older = downgraded(text, "a", 1, |attributes| {
            let renamed = attributes.remove("new").unwrap();
            attributes.insert("old".to_owned(), renamed);
        });
        let state = State::parse(older.unwrap()).unwrap();
        let stored = state.resource("a.b").unwrap();
        assert_eq!(
            (stored.schema_version, stored.raw("n"), stored.raw("old")),
            (1, Some("1180591620717411303425"), Some("1"))
        );
        let untouched = State::parse(downgraded(text, "c", 1, |_| {}).unwrap()).unwrap();
        assert_eq!(untouched.resource("a.b").unwrap().schema_version, 2);
    }

    #[test]
    fn instances_are_read_with_every_digit() {
        let text = r#"{ "version": 4, "resources": [
            { "mode": "data", "type": "a", "name": "d", "instances": [{ "attributes": {} }] },
            { "mode": "managed", "type": "a", "name": "b", "module": "module.m", "instances": [
                { "index_key": 1, "status": "tainted", "schema_version": 2, "attributes": { "n": 1180591620717411303425, "s": "x" } }
            ] }
        ] }"#;
        let state = State::parse(text.to_owned()).unwrap();
        let stored = state.resource("module.m.a.b[1]").unwrap();
        assert!(stored.tainted && stored.schema_version == 2);
        assert_eq!(stored.raw("n"), Some("1180591620717411303425"));
        assert!(stored.has("s", "x").is_ok());
        let reported = stored.has("s", "y").unwrap_err().to_string();
        assert_eq!(reported, "module.m.a.b[1].s is \"x\", expected \"y\"");
        assert_eq!(state.resources().len(), 1);
    }
}
