//! The checked-in tables agree with PVE's schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Schema;
use crate::line::Line;

fn schemas() -> [Schema; 2] {
    [Line::Eight, Line::Nine].map(|line| Schema::of(line).expect("the checked-in data"))
}

/// Collects the texts in a declared check that look like privileges, as `VM.Config.Disk` does.
fn privileges_in(check: &Value, found: &mut BTreeSet<String>) {
    match check {
        Value::Array(items) => items.iter().for_each(|item| privileges_in(item, found)),
        Value::String(text)
            if text.contains('.')
                && text.starts_with(|c: char| c.is_ascii_uppercase())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') =>
        {
            found.insert(text.clone());
        }
        _ => {}
    }
}

#[test]
fn every_built_in_role_names_known_privileges_only() {
    for schema in schemas() {
        for (role, privileges) in schema.roles.iter() {
            let unknown: Vec<&String> = privileges.iter().filter(|name| !schema.roles.has_privilege(name)).collect();
            assert!(unknown.is_empty(), "PVE {}, {role}: {unknown:?}", schema.line);
        }
    }
}

#[test]
fn every_privilege_that_a_call_asks_for_is_known() {
    for schema in schemas() {
        let mut asked = BTreeSet::new();
        schema.routes().iter().for_each(|route| privileges_in(&route.check, &mut asked));
        assert!(asked.contains("VM.Allocate"), "no call of PVE {} asks for a privilege: {asked:?}", schema.line);
        asked.retain(|name| !schema.roles.has_privilege(name));
        assert!(asked.is_empty(), "PVE {}: {asked:?}", schema.line);
    }
}

#[test]
fn every_storage_option_is_one_of_the_schema() {
    let schema = Schema::of(Line::Nine).expect("the checked-in data");
    let Ok((create, _)) = schema.find("POST", "/storage") else { panic!("no POST /storage") };
    for kind in ["dir", "nfs", "lvm", "lvmthin", "zfspool", "rbd"] {
        let known = schema.storage_types.get(kind).expect("a type of storage");
        let options = known.fixed.iter().chain(&known.once).chain(&known.optional);
        let unknown: Vec<&String> = options.filter(|name| !create.properties.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "{kind}: {unknown:?}");
        assert!(known.default.iter().all(|content| known.holds(content)), "{kind}: {:?}", known.default);
    }
}
