//! Property strings, in which PVE writes an option with parts, as in `virtio=BC:24:11:00:00:01,bridge=vmbr0`.

use std::fmt;

/// The parts of an option's value, in order. One part may have no key, such as the volume of a drive or the amount of
/// memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties<'a>(Vec<(Option<&'a str>, &'a str)>);

impl<'a> Properties<'a> {
    /// Reads an option's value. Accepts every text, because PVE wrote it. Leaves out empty parts.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let parts = parts.map(|part| match part.split_once('=') {
            Some((key, value)) => (Some(key), value),
            None => (None, part),
        });
        Self(parts.collect())
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| *name == Some(key)).map(|(_, value)| *value)
    }

    /// Returns the part without a key, or the value of the key that such a part belongs to. PVE writes either form.
    #[must_use]
    pub fn lone_or(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| name.is_none()).map(|(_, value)| *value).or_else(|| self.get(key))
    }
}

impl fmt::Display for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match key {
                Some(key) => write!(f, "{comma}{key}={value}")?,
                None => write!(f, "{comma}{value}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Properties;

    #[test]
    fn parts_are_found_by_key() {
        let card = Properties::parse("virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=7");
        assert_eq!((card.get("bridge"), card.get("tag"), card.get("rate")), (Some("vmbr0"), Some("7"), None));
        let drive = Properties::parse("local:iso/a.iso,media=cdrom,size=376K");
        assert_eq!((drive.lone_or("file"), drive.get("media")), (Some("local:iso/a.iso"), Some("cdrom")));
        assert_eq!(Properties::parse("").lone_or("file"), None);
    }

    #[test]
    fn the_part_without_a_key_is_also_found_by_its_key() {
        for text in ["2048", "current=2048"] {
            assert_eq!(Properties::parse(text).lone_or("current"), Some("2048"), "{text}");
        }
        assert_eq!(Properties::parse("enabled=1,fstrim_cloned_disks=0").lone_or("enabled"), Some("1"));
    }

    #[test]
    fn a_property_string_is_written_as_it_was_read() {
        for text in ["", "a", "a,b=c", "x==,=y", "local:100/vm.qcow2,size=4G"] {
            assert_eq!(Properties::parse(text).to_string(), text);
        }
        assert_eq!(Properties::parse(",a,,b=1,").to_string(), "a,b=1");
    }
}
