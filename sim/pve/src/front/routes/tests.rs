//! The table and the schema agree.

use std::collections::HashSet;

use super::{all_entries, handlers};
use crate::line::Line;
use crate::schema::Schema;

fn schemas() -> [Schema; 2] {
    [Line::Eight, Line::Nine].map(|line| Schema::of(line).expect("the checked-in schema"))
}

#[test]
fn every_entry_names_a_call_of_pve() {
    let schemas = schemas();
    let known: HashSet<(&str, &str)> =
        schemas.iter().flat_map(Schema::routes).map(|route| (route.method.as_str(), route.path.as_str())).collect();
    let unknown: Vec<String> = all_entries()
        .filter(|entry| !known.contains(&(entry.method, entry.path)))
        .map(|entry| format!("{} {}", entry.method, entry.path))
        .collect();
    assert!(unknown.is_empty(), "not in PVE's schema: {unknown:?}");
}

#[test]
fn no_call_has_two_entries() {
    let mut seen = HashSet::new();
    let twice: Vec<String> = all_entries()
        .filter(|entry| !seen.insert((entry.method, entry.path)))
        .map(|entry| format!("{} {}", entry.method, entry.path))
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn every_entry_is_reached_by_a_request_for_its_path() {
    let schemas = schemas();
    let mut missed: Vec<String> = Vec::new();
    for entry in all_entries() {
        let path: String = entry
            .path
            .split('/')
            .skip(1)
            .map(|part| format!("/{}", part.replace('{', "a-").replace('}', "")))
            .collect();
        let reached = schemas.iter().any(|schema| {
            let Ok((route, _)) = schema.find(entry.method, &path) else { return false };
            route.path == entry.path
                && handlers(schema).of(route.place).is_some_and(|it| std::ptr::fn_addr_eq(it, entry.handler))
        });
        if !reached {
            missed.push(format!("{} {}", entry.method, entry.path));
        }
    }
    assert!(missed.is_empty(), "never reached: {missed:?}");
}
