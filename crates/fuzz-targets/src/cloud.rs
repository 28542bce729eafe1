//! Cloud-init data and templates, as users write them.

use std::collections::BTreeMap;

use serde_json::json;

/// User data and network configuration. A problem that is found once is found again, at a place in the text.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for check in [cloudinit::check_user_data, cloudinit::check_network_config] {
        let problems = check(text);
        assert!(problems == check(text));
        // To YAML a carriage return ends a line as well, and the end is a place.
        let lines = text.split(['\n', '\r']).count() as u64;
        assert!(problems.iter().all(|problem| problem.line <= lines), "a problem beyond the end");
    }
}

/// A template with variables of every type.
pub(crate) fn render(input: &[u8]) {
    let Ok(template) = std::str::from_utf8(input) else { return };
    let variables = BTreeMap::from([
        ("name".to_owned(), json!("vm-1")),
        ("count".to_owned(), json!(2.5)),
        ("on".to_owned(), json!(true)),
        ("none".to_owned(), json!(null)),
        ("list".to_owned(), json!(["a", "b"])),
        ("map".to_owned(), json!({ "key": "value", "deep": { "n": 1 } })),
    ]);
    let rendered = cloudinit::render(template, &variables);
    assert!(rendered == cloudinit::render(template, &variables));
    if !template.contains("${") && !template.contains("%{") {
        assert_eq!(rendered.as_deref(), Ok(template), "text without a sequence stays");
    }
}
