//! PVE's answers, and the parts of them that name the owner of a guest.

use std::fmt::Display;
use std::str::FromStr;

use ownership::{Installation, Marker, NodeName, Nonce, PoolName, RepositoryName, RunnerName, VmidRange};
use pve::{
    Config, ContainerInterface, Endpoint, Exit, Fingerprint, GuestSummary, Interface, NodeSummary, PoolMember,
    Properties, Status, StorageStatus, Upid, Volume,
};
use serde::de::DeserializeOwned;

/// JSON of an API answer: the first byte chooses of which call.
pub(crate) fn answers(input: &[u8]) {
    fn read<T: DeserializeOwned>(json: &[u8]) {
        let _ = serde_json::from_slice::<T>(json);
    }
    let Some((first, json)) = input.split_first() else { return };
    match first % 11 {
        0 => config(json),
        1 => read::<Vec<GuestSummary>>(json),
        2 => read::<Vec<NodeSummary>>(json),
        3 => read::<Vec<StorageStatus>>(json),
        4 => read::<Vec<Volume>>(json),
        5 => read::<Vec<Interface>>(json),
        6 => read::<Exit>(json),
        7 => read::<Vec<ContainerInterface>>(json),
        8 => read::<Vec<PoolMember>>(json),
        9 => read::<Upid>(json),
        _ => read::<Status>(json),
    }
}

fn config(json: &[u8]) {
    let Ok(config) = serde_json::from_slice::<Config>(json) else { return };
    for (option, value) in config.iter() {
        assert_eq!(config.get(option), Some(value));
        let _ = (config.number(option), config.flag(option));
    }
    let _ = (config.digest(), config.is_template(), config.lock(), Marker::find(config.description()).is_ok());
}

/// Text that PVE or the user names things by.
pub(crate) fn words(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(upid) = Upid::parse(text) {
        assert_eq!(upid.as_str(), text);
        assert!(text.contains(upid.kind()));
    }
    same_again::<Endpoint>(text);
    same_again::<Fingerprint>(text);
    let _ = pve::ApiToken::parse(&text.to_owned().into()).is_ok();
}

/// An option with parts. Each part that is found by its key is in what is written, which is read as the same.
pub(crate) fn properties(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = Properties::parse(text);
    let written = read.to_string();
    assert!(Properties::parse(&written) == read && written.len() <= text.len(), "{text:?} became {written:?}");
    for key in text.split([',', '=']) {
        if let Some(value) = read.get(key) {
            assert!(!value.contains(',') && written.contains(&format!("{key}={value}")));
        }
        let _ = read.lone_or(key);
    }
}

/// Every value that is read can be written and read again as the same.
fn same_again<T: FromStr + Display + PartialEq>(text: &str) {
    let Ok(read) = text.parse::<T>() else { return };
    let written = read.to_string();
    assert!(written.parse::<T>().is_ok_and(|again| again == read), "{text:?} became {written:?}");
}

/// A guest's description. A marker that is found is found again after it was written.
pub(crate) fn marker(input: &[u8]) {
    let Ok(description) = std::str::from_utf8(input) else { return };
    let Ok(Some(marker)) = Marker::find(description) else { return };
    let written = marker.replace_in(description);
    let again = Marker::find(&written).expect("one marker, readable");
    assert!(again.as_ref() == Some(&marker));
    assert_eq!(marker.replace_in(&written), written, "writing it twice changes nothing");
}

/// Names with a grammar.
pub(crate) fn names(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    same_again::<Installation>(text);
    same_again::<PoolName>(text);
    same_again::<Nonce>(text);
    same_again::<VmidRange>(text);
    same_again::<NodeName>(text);
    same_again::<RepositoryName>(text);
    same_again::<RunnerName>(text);
    let installation = text.split('-').next().unwrap_or_default().parse().unwrap_or_default();
    if let Ok(name) = RunnerName::parse(&installation, text) {
        assert_eq!(name.to_string(), text);
    }
}
