//! Schemas, diagnostics and paths as protocol messages.

use serde_json::{Value as Json, json};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::path::{Path, Step};
use crate::schema::{Attribute, Kind, Mode, Nesting, Schema, Type, object_type};
use crate::value::Value;
use crate::wire::msgpack;
use crate::wire::tfplugin6 as proto;

pub(crate) fn dynamic(value: &Value, declared: &Type) -> proto::DynamicValue {
    proto::DynamicValue { msgpack: msgpack::encode(value, declared), json: Vec::new() }
}

pub(crate) fn type_json(declared: &Type) -> Json {
    match declared {
        Type::Bool => json!("bool"),
        Type::Number => json!("number"),
        Type::String => json!("string"),
        Type::List(element) => json!(["list", type_json(element)]),
        Type::Set(element) => json!(["set", type_json(element)]),
        Type::Map(element) => json!(["map", type_json(element)]),
        Type::Object(attributes) => {
            let attributes: serde_json::Map<_, _> =
                attributes.iter().map(|(name, declared)| (name.clone(), type_json(declared))).collect();
            json!(["object", attributes])
        }
    }
}

pub(crate) fn schema(schema: &Schema) -> proto::Schema {
    let block = block(&schema.attributes, &schema.description, schema.deprecated.as_deref());
    proto::Schema { version: schema.version, block: Some(proto::schema::Block { version: schema.version, ..block }) }
}

fn block(attributes: &[Attribute], description: &str, deprecated: Option<&str>) -> proto::schema::Block {
    let plain = attributes.iter().filter(|attribute| attribute.block.is_none());
    proto::schema::Block {
        version: 0,
        attributes: plain.map(attribute).collect(),
        block_types: attributes.iter().filter_map(nested_block).collect(),
        description: description.to_owned(),
        description_kind: proto::StringKind::Markdown.into(),
        deprecated: deprecated.is_some(),
        deprecation_message: deprecated.unwrap_or_default().to_owned(),
    }
}

fn nested_block(attribute: &Attribute) -> Option<proto::schema::NestedBlock> {
    use proto::schema::nested_block::NestingMode;
    let limits = attribute.block?;
    let Kind::Nested(nesting, attributes) = &attribute.kind else { return None };
    let nesting = match nesting {
        Nesting::Single => NestingMode::Single,
        Nesting::List => NestingMode::List,
        Nesting::Set => NestingMode::Set,
        Nesting::Map => NestingMode::Map,
        Nesting::Group => NestingMode::Group,
    };
    Some(proto::schema::NestedBlock {
        type_name: attribute.name.clone(),
        block: Some(block(attributes, &attribute.description, attribute.deprecated.as_deref())),
        nesting: nesting.into(),
        min_items: limits.min.into(),
        max_items: limits.max.into(),
    })
}

fn attribute(attribute: &Attribute) -> proto::schema::Attribute {
    let (plain, nested) = match &attribute.kind {
        Kind::Plain(plain) => (type_json(plain).to_string().into_bytes(), None),
        Kind::Nested(nesting, attributes) => (Vec::new(), Some(object(*nesting, attributes))),
    };
    proto::schema::Attribute {
        name: attribute.name.clone(),
        r#type: plain,
        nested_type: nested,
        description: attribute.description.clone(),
        required: attribute.mode == Mode::Required,
        optional: matches!(attribute.mode, Mode::Optional | Mode::OptionalComputed),
        computed: attribute.mode.is_computed(),
        sensitive: attribute.sensitive,
        description_kind: proto::StringKind::Markdown.into(),
        deprecated: attribute.deprecated.is_some(),
        write_only: attribute.write_only,
        deprecation_message: attribute.deprecated.clone().unwrap_or_default(),
    }
}

#[expect(deprecated, reason = "the message has fields that no core reads")]
fn object(nesting: Nesting, attributes: &[Attribute]) -> proto::schema::Object {
    use proto::schema::object::NestingMode;
    let nesting = match nesting {
        Nesting::Single | Nesting::Group => NestingMode::Single,
        Nesting::List => NestingMode::List,
        Nesting::Set => NestingMode::Set,
        Nesting::Map => NestingMode::Map,
    };
    let attributes = attributes.iter().map(attribute).collect();
    proto::schema::Object { attributes, nesting: nesting.into(), min_items: 0, max_items: 0 }
}

/// Returns the identity schema from the attributes marked `identity`; `None` if there are none.
pub(crate) fn identity_schema(schema: &Schema) -> Option<proto::ResourceIdentitySchema> {
    use proto::resource_identity_schema::IdentityAttribute;
    let marked = schema.attributes.iter().filter(|attribute| attribute.identity);
    let identity_attributes: Vec<_> = marked
        .map(|attribute| IdentityAttribute {
            name: attribute.name.clone(),
            r#type: type_json(&attribute.kind.value_type()).to_string().into_bytes(),
            required_for_import: true,
            optional_for_import: false,
            description: attribute.description.clone(),
        })
        .collect();
    if identity_attributes.is_empty() {
        return None;
    }
    Some(proto::ResourceIdentitySchema { version: schema.identity_version, identity_attributes })
}

/// Returns the type of the identity object.
pub(crate) fn identity_type(schema: &Schema) -> Type {
    let marked: Vec<_> = schema.attributes.iter().filter(|attribute| attribute.identity).cloned().collect();
    Type::Object(object_type(&marked))
}

/// Returns the identity of an object in `state`; `None` if a part of it is not known, or the type declares no identity.
pub(crate) fn identity(schema: &Schema, state: &Value) -> Option<proto::ResourceIdentityData> {
    let mut marked = schema.attributes.iter().filter(|attribute| attribute.identity).peekable();
    marked.peek()?;
    let entries: Option<_> = marked
        .map(|attribute| match state.get(&attribute.name) {
            Value::Null | Value::Unknown => None,
            known => Some((attribute.name.clone(), known.clone())),
        })
        .collect();
    let identity = dynamic(&Value::Map(entries?), &identity_type(schema));
    Some(proto::ResourceIdentityData { identity_data: Some(identity) })
}

pub(crate) fn diagnostics(diagnostics: Diagnostics) -> Vec<proto::Diagnostic> {
    diagnostics.into_iter().map(diagnostic).collect()
}

fn diagnostic(diagnostic: Diagnostic) -> proto::Diagnostic {
    use proto::diagnostic::Severity as Wire;
    let severity = match diagnostic.severity {
        Severity::Error => Wire::Error,
        Severity::Warning => Wire::Warning,
    };
    let attribute = (!diagnostic.path.steps().is_empty()).then(|| path(&diagnostic.path));
    proto::Diagnostic { severity: severity.into(), summary: diagnostic.summary, detail: diagnostic.detail, attribute }
}

pub(crate) fn path(path: &Path) -> proto::AttributePath {
    use proto::attribute_path::Step as WireStep;
    use proto::attribute_path::step::Selector;
    let step = |step: &Step| {
        let selector = match step {
            Step::Attribute(name) => Selector::AttributeName(name.clone()),
            Step::Index(index) => Selector::ElementKeyInt(*index),
            Step::Key(key) => Selector::ElementKeyString(key.clone()),
        };
        WireStep { selector: Some(selector) }
    };
    proto::AttributePath { steps: path.steps().iter().map(step).collect() }
}
