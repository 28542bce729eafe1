//! Configuration and status of virtual machines and containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::lenient;

/// A guest's configuration as PVE returns it: the text of each option. The JSON types of the values are ignored.
#[derive(Debug, Clone, Default)]
pub struct Config(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
        Ok(Self(values.into_iter().filter_map(|(key, value)| Some((key, lenient::text_of(&value)?))).collect()))
    }
}

impl Config {
    /// Returns the value of an option, for example `memory` or `net0`.
    #[must_use]
    pub fn get(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(String::as_str)
    }

    /// Returns the value of an option as a number.
    #[must_use]
    pub fn number(&self, option: &str) -> Option<u64> {
        self.get(option)?.parse().ok()
    }

    /// Returns true if an option is switched on.
    #[must_use]
    pub fn flag(&self, option: &str) -> bool {
        self.get(option) == Some("1")
    }

    /// Returns all options, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(option, value)| (option.as_str(), value.as_str()))
    }

    /// Returns the digest. A change with it fails if the configuration was changed in between.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.get("digest")
    }

    /// Returns the description, or an empty text.
    #[must_use]
    pub fn description(&self) -> &str {
        self.get("description").unwrap_or_default()
    }

    /// Returns true if the guest is a template.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.flag("template")
    }

    /// Returns the lock of the guest, for example `clone`.
    #[must_use]
    pub fn lock(&self) -> Option<&str> {
        self.get("lock")
    }
}

/// The status of a guest now.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// `running` or `stopped`.
    pub status: String,
    /// Lock of the guest.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub lock: Option<String>,
    /// Time since the start, in seconds.
    #[serde(default, deserialize_with = "lenient::number")]
    pub uptime: u64,
}

impl Status {
    /// Returns true if the guest runs. A paused VM runs too.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == "running"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_any_json_type_are_read() {
        let json = r#"{"memory":"512","cores":2,"template":1,"agent":"1","boot":" ","digest":"abc","description":"One\npxci:v1 {}\n","meta":null}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        assert_eq!((config.number("memory"), config.number("cores")), (Some(512), Some(2)));
        assert!(config.is_template() && config.flag("agent"));
        assert_eq!((config.digest(), config.lock()), (Some("abc"), None));
        assert!(config.description().starts_with("One\n"));
    }

    #[test]
    fn the_status_of_a_running_vm_is_read() {
        let status: Status =
            serde_json::from_str(r#"{"agent":1,"qmpstatus":"running","status":"running","uptime":12,"vmid":8001}"#)
                .unwrap();
        assert!(status.is_running() && status.uptime == 12 && status.lock.is_none());
    }
}
