//! UPIDs: the names of PVE's tasks.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Name of a task: `UPID:node:pid:pstart:starttime:type:id:user:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upid(String);

impl Upid {
    /// `None` when the text has not the form of a UPID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let valid = fields.len() == 9 && fields[0] == "UPID" && !fields[1].is_empty() && fields[8].is_empty();
        valid.then(|| Self(text.to_owned()))
    }

    /// Node on which the task runs.
    #[must_use]
    pub fn node(&self) -> &str {
        self.field(1)
    }

    /// Kind of the task, for example `qmclone`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.field(5)
    }

    fn field(&self, index: usize) -> &str {
        self.0.split(':').nth(index).unwrap_or_default()
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
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
    fn fields_are_found_also_when_the_id_is_empty() {
        let upid = Upid::parse("UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmcreate:9000:root@pam!t:").unwrap();
        assert_eq!((upid.node(), upid.kind()), ("pve1", "qmcreate"));
        assert_eq!(Upid::parse("UPID:pve1:000002E8:0002A2C8:6B02BFC8:imgcopy::root@pam:").unwrap().kind(), "imgcopy");
        assert!(Upid::parse("null").is_none());
    }
}
