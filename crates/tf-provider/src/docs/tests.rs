//! Tests of pages: of a provider with types of several kinds, and of random schemas.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use pulldown_cmark::{Event, Parser, Tag};

use super::Pages;
use super::page::{Declared, Page, PageKind};
use crate::schema::{Attribute, Check, Kind, Limits, Mode, Nesting, Replace, Schema, Type};
use crate::{
    Attr, CancellationToken, Context, Diagnostics, Failure, Function, FunctionError, Model, Outcome, Parameters,
    Provider, Registry, Resource, Value,
};

/// Keeps things.
///
/// In a directory.
#[derive(Clone, Default, Model)]
struct Settings {
    /// The directory.
    #[tf(required)]
    directory: Attr<String>,
}

struct Attic;

impl Provider for Attic {
    const NAME: &'static str = "attic";
    type Model = Settings;
    type Data = ();

    fn register(&self, registry: &mut Registry<()>) {
        registry.resource(Trunks).function(Weighing);
    }

    async fn configure(&self, _: &CancellationToken, _: Settings) -> Result<Option<()>, Diagnostics> {
        Ok(None)
    }
}

/// A trunk.
#[derive(Clone, Default, Model)]
struct Trunk {
    /// Place of the trunk.
    #[tf(computed, keep, identity)]
    place: Attr<u64>,
    /// Colour.
    #[tf(default = "brown", one_of("brown", "white"))]
    colour: Attr<String>,
    /// Name.
    ///
    /// * one word
    /// * no more
    #[tf(required, replace, length(1..=20))]
    name: Attr<String>,
    /// Key of the trunk.
    #[tf(optional, write_only, sensitive)]
    key_wo: Attr<String>,
    /// Kept for old times' sake.
    #[tf(optional, deprecated = "Use name instead.")]
    tag: Attr<String>,
    /// The lid.
    #[tf(optional)]
    lid: Attr<Lid>,
    /// Deadlines.
    #[tf(timeouts(create = "30m"))]
    timeouts: crate::Timeouts,
}

/// A lid.
#[derive(Clone, Default, Model)]
struct Lid {
    /// Number of hinges.
    #[tf(default = 2, range(1..=4))]
    hinges: Attr<u32>,
}

struct Trunks;

impl Resource for Trunks {
    const TYPE: &'static str = "attic_trunk";
    type Data = ();
    type Model = Trunk;

    async fn create(&self, _: &Context<()>, plan: KnownTrunk) -> Outcome<KnownTrunk> {
        Ok(plan)
    }

    async fn read(&self, _: &Context<()>, state: Trunk) -> Result<Option<Trunk>, Diagnostics> {
        Ok(Some(state))
    }

    async fn update(&self, _: &Context<()>, _: KnownTrunk, plan: KnownTrunk) -> Outcome<KnownTrunk> {
        Ok(plan)
    }

    async fn delete(&self, _: &Context<()>, _: KnownTrunk) -> Result<(), Failure<KnownTrunk>> {
        Ok(())
    }
}

/// Weighs things.
///
/// Together.
#[derive(Parameters)]
struct Things {
    /// Weight of the trunk.
    #[tf(range(0.0..))]
    own: f64,
    /// Weight of each thing.
    #[tf(variadic)]
    each: Vec<Option<f64>>,
}

struct Weighing;

impl Function for Weighing {
    const NAME: &'static str = "weigh";
    type Parameters = Things;
    type Output = f64;

    fn call(&self, things: Things) -> Result<f64, FunctionError> {
        Ok(things.own + things.each.into_iter().flatten().sum::<f64>())
    }
}

const WEIGH: &str = r#"---
page_title: "weigh Function - attic"
subcategory: ""
description: "Weighs things."
---

<!-- Made from the schema and examples/; changes by hand are lost. -->

# weigh (Function)

Weighs things.

Together.

## Signature

```text
provider::attic::weigh(own number, each number...) number
```

## Arguments

- `own` (number) Weight of the trunk. Must be at least 0.
- `each` (number, any number, may be null) Weight of each thing.
"#;

const TRUNK: &str = r#"---
page_title: "attic_trunk Resource - attic"
subcategory: ""
description: "A trunk."
---

<!-- Made from the schema and examples/; changes by hand are lost. -->

# attic_trunk (Resource)

A trunk.

## Example Usage

```terraform
resource "attic_trunk" "it" {}
```

## Argument Reference

- `name` (string, required, change forces replacement) Name.

  * one word
  * no more

  Must be of length at least 1 and at most 20.
- `colour` (string) Colour. Default `"brown"`. Must be one of "brown", "white".
- `key_wo` (string, write-only, sensitive) Key of the trunk.
- `tag` (string, deprecated) Kept for old times' sake. **Deprecated:** Use name instead.
- `lid` (object) The lid. Its attributes: [below](#nested--lid).
- `timeouts` (object) Deadlines. Its attributes: [below](#nested--timeouts).

## Attribute Reference

- `place` (number, read-only, identity) Place of the trunk.

<a id="nested--lid"></a>
### `lid`

- `hinges` (number) Number of hinges. Default `2`. Must be at least 1 and at most 4.

<a id="nested--timeouts"></a>
### `timeouts`

- `create` (string) Time limit for create, such as `90s` or `1h30m`. Default `30m`.

## Import

```shell
tofu import attic_trunk.it 7
```

With OpenTofu 1.12 or Terraform 1.12 and later, an `import` block can name it by its `identity`:

- `place` (number) Place of the trunk.
"#;

fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("parent")).expect("directory");
    fs::write(path, text).expect("written");
}

#[test]
fn a_page_shows_the_whole_declaration() {
    let root = tempfile::tempdir().expect("directory");
    put(root.path(), "examples/resources/attic_trunk/main.tf", "resource \"attic_trunk\" \"it\" {}\n");
    put(root.path(), "examples/resources/attic_trunk/import.sh", "tofu import attic_trunk.it 7\n");
    put(root.path(), "docs/guides/moving.md", "# Moving in\n");
    let pages = Pages::of(&Attic, root.path()).expect("pages");
    let texts: Vec<_> = pages.iter().collect();
    assert_eq!(texts[0], (Path::new("docs/functions/weigh.md"), WEIGH));
    assert_eq!(texts[2], (Path::new("docs/resources/trunk.md"), TRUNK));
    let (path, index) = texts[1];
    assert_eq!(path, Path::new("docs/index.md"));
    assert!(index.contains("# attic Provider\n\nKeeps things.\n\nIn a directory.\n"), "{index}");
    assert!(index.ends_with("## Guides\n\n- [Moving in](guides/moving.md)\n"), "{index}");
}

#[test]
fn stale_pages_are_found_and_written_and_guides_are_kept() {
    let root = tempfile::tempdir().expect("directory");
    put(root.path(), "docs/guides/moving.md", "# Moving in\n");
    put(root.path(), "docs/resources/gone.md", "of a type that no longer exists");
    put(root.path(), "docs/resources/trunk.md", "by hand");
    let pages = Pages::of(&Attic, root.path()).expect("pages");
    let all = ["docs/resources/gone.md", "docs/functions/weigh.md", "docs/index.md", "docs/resources/trunk.md"]
        .map(|name| Path::new(name).to_owned());
    assert_eq!(pages.stale().expect("read"), all);
    assert_eq!(pages.write().expect("written"), all);
    assert_eq!(pages.stale().expect("read"), Vec::<std::path::PathBuf>::new());
    assert!(!root.path().join("docs/resources/gone.md").exists());
    assert!(root.path().join("docs/guides/moving.md").exists());
}

/// Returns text with characters that have a meaning in Markdown, YAML or configurations.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z ]{0,20}",
        "[ -~äß]{0,30}".prop_filter("no link, HTML or fence of the author's own", |text| {
            !text.contains(['<', '[', '`', '&', '!'])
        }),
        Just("First.\n\nSecond:\n\n* one\n* two".to_owned()),
        Just("Code `a` and ``b`c``.".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        "[ -~]{0,12}".prop_map(Value::String),
        proptest::collection::vec("[`a-z$%{}\"]{0,5}".prop_map(Value::String), 0..3).prop_map(Value::List),
        proptest::collection::btree_map("[a-z]{1,4}", any::<bool>().prop_map(Value::Bool), 0..3).prop_map(Value::Map),
    ]
}

fn leaf() -> impl Strategy<Value = Attribute> {
    let mode =
        prop_oneof![Just(Mode::Required), Just(Mode::Optional), Just(Mode::OptionalComputed), Just(Mode::Computed)];
    let kind = prop_oneof![
        Just(Type::Bool),
        Just(Type::Map(Box::new(Type::Number))),
        Just(Type::Set(Box::new(Type::Object([("a".to_owned(), Type::String)].into()))))
    ];
    let facts = (any::<[bool; 3]>(), proptest::option::of(value()), proptest::option::of("[a-z\" ]{1,12}"));
    ("[a-z][a-z0-9_]{0,8}", text(), mode, kind, facts).prop_map(|(name, description, mode, kind, facts)| {
        let mut attribute = Attribute::new(&name, Kind::Plain(kind), mode, &description);
        let ([sensitive, write_only, replace], default, rule) = facts;
        (attribute.sensitive, attribute.write_only) = (sensitive, write_only);
        attribute.replace = if replace { Replace::Always } else { Replace::Never };
        attribute.checks.extend(rule.map(|rule| Check::new(Some(rule), |_| Ok(()))));
        attribute.default = default;
        attribute
    })
}

/// Returns attributes with different names. Some have nested attributes, and some of these are blocks.
fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    let flat = proptest::collection::vec(leaf(), 0..4).prop_map(of_different_names);
    flat.prop_recursive(3, 24, 4, |inner| {
        let nesting = prop_oneof![Just(Nesting::Single), Just(Nesting::List), Just(Nesting::Set), Just(Nesting::Map)];
        let limits = proptest::option::of((0..3_u32, 0..3_u32).prop_map(|(min, max)| Limits { min, max }));
        let nested = (leaf(), nesting, limits, inner).prop_map(|(mut attribute, nesting, limits, inner)| {
            attribute.kind = Kind::Nested(nesting, inner);
            attribute.block = limits;
            attribute
        });
        proptest::collection::vec(prop_oneof![leaf(), nested], 0..4).prop_map(of_different_names)
    })
}

fn of_different_names(attributes: Vec<Attribute>) -> Vec<Attribute> {
    let mut names = BTreeSet::new();
    attributes.into_iter().filter(|attribute| names.insert(attribute.name.clone())).collect()
}

/// Returns the paths of all attributes: `lid.hinges`.
fn paths(attributes: &[Attribute], within: &str) -> Vec<String> {
    let mut all = Vec::new();
    for attribute in attributes {
        let path = if within.is_empty() { attribute.name.clone() } else { format!("{within}.{}", attribute.name) };
        if let Kind::Nested(_, nested) = &attribute.kind {
            all.extend(paths(nested, &path));
        }
        all.push(path);
    }
    all.sort();
    all
}

/// The contents of a page: entries with the section that they are in, anchors, links and headings.
#[derive(Default)]
struct PageContents {
    entries: Vec<String>,
    anchors: BTreeSet<String>,
    links: BTreeSet<String>,
    headings: Vec<String>,
}

fn parse(page: &str) -> PageContents {
    let body = page.splitn(3, "---\n").nth(2).expect("front matter");
    let mut seen = PageContents::default();
    // `section` is the last heading of nested attributes. `starts_entry` is true at the start of a list entry.
    let (mut section, mut in_heading, mut depth, mut starts_entry) = (String::new(), false, 0, false);
    for event in Parser::new(body) {
        match event {
            Event::Start(Tag::Heading { .. }) => (in_heading, section) = (true, String::new()),
            Event::End(pulldown_cmark::TagEnd::Heading(_)) => {
                in_heading = false;
                seen.headings.push(section.clone());
            }
            Event::Start(Tag::List(_)) => depth += 1,
            Event::End(pulldown_cmark::TagEnd::List(_)) => depth -= 1,
            Event::Start(Tag::Item) => starts_entry = depth == 1,
            Event::Start(Tag::Link { dest_url, .. }) => drop(seen.links.insert(dest_url.into_string())),
            Event::Html(html) | Event::InlineHtml(html) => {
                let id = html.strip_prefix("<a id=\"").and_then(|rest| rest.split('"').next());
                seen.anchors.extend(id.map(|id| format!("#{id}")));
            }
            Event::Code(code) if in_heading => section = format!("{code}."),
            Event::Text(text) if in_heading => section.push_str(&text),
            Event::Code(code) if starts_entry => {
                starts_entry = false;
                let within = if section.ends_with('.') { section.as_str() } else { "" };
                seen.entries.push(format!("{within}{code}"));
            }
            Event::Text(_) => starts_entry = false,
            _ => {}
        }
    }
    seen.entries.sort();
    seen
}

proptest! {
    #[test]
    fn every_attribute_has_its_entry_and_every_link_its_target(attributes in attributes(), description in text()) {
        let paths = paths(&attributes, "");
        let schema = Schema { version: 0, identity_version: 0, description, deprecated: None, attributes };
        let page = Page { part: PageKind::Resource, provider: "attic", name: "attic_trunk", declared: Declared::Schema(schema) };
        let text = page.text(Path::new("/nowhere")).expect("no examples");
        let seen = parse(&text);
        prop_assert_eq!(&seen.entries, &paths, "{}", text);
        prop_assert_eq!(&seen.links, &seen.anchors, "{}", text);
        prop_assert_eq!(&seen.headings[0], "attic_trunk (Resource)");
        prop_assert!(text.starts_with("---\npage_title: \"") && text.ends_with('\n') && !text.contains("\n\n\n"));
    }
}
