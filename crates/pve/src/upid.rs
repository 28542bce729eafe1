//! UPIDs, the names of PVE's tasks.

use std::fmt;

use ownership::NodeName;
use serde::{Deserialize, Deserializer, de};

/// Name of a task: `UPID:node:pid:pstart:starttime:type:id:user:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upid {
    text: String,
    node: NodeName,
}

impl Upid {
    /// Reads a UPID. Returns `None` if the text does not have its form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let valid = fields.len() == 9 && fields[0] == "UPID" && fields[8].is_empty();
        let node = fields.get(1)?.parse().ok()?;
        valid.then(|| Self { text: text.to_owned(), node })
    }

    /// Returns the node on which the task runs.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Returns the kind of the task, for example `qmclone`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text.split(':').nth(5).unwrap_or_default()
    }

    /// Returns the whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Upid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected a UPID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_even_if_the_id_is_empty() {
        let upid = Upid::parse("UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmcreate:9000:root@pam!t:").unwrap();
        assert_eq!((upid.node().as_str(), upid.kind()), ("pve1", "qmcreate"));
        assert_eq!(Upid::parse("UPID:pve1:000002E8:0002A2C8:6B02BFC8:imgcopy::root@pam:").unwrap().kind(), "imgcopy");
        for wrong in ["null", "UPID::000002E8:0002A2C8:6B02BFC8:imgcopy::root@pam:"] {
            assert!(Upid::parse(wrong).is_none(), "{wrong}");
        }
    }
}
