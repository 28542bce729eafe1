use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{RenderError, render};

fn variables() -> BTreeMap<String, Value> {
    let Value::Object(all) = json!({
        "x": "X", "l": ["p", "q"], "t": true, "f": false, "n": 5, "m": {"k": "v", "a": "b"}, "nul": null
    }) else {
        unreachable!("an object literal")
    };
    all.into_iter().collect()
}

/// The expected results were recorded from `templatefile` of Terraform 1.11.4 with the variables above.
#[test]
fn renders_what_templatefile_renders() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../tests/templatefile.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let template = case["template"].as_str().unwrap();
        let rendered = render(template, &variables());
        let same = match &case["output"] {
            Value::String(expected) => rendered.as_ref() == Ok(expected),
            _ => rendered.is_err(),
        };
        if !same {
            wrong.push(format!("{template:?}\n  expected {}\n  rendered {rendered:?}", case["output"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn an_undefined_variable_is_named_with_its_line_even_in_a_branch_not_taken() {
    let error = render("a\nb\n%{ if f }${missing}%{ endif }", &variables()).unwrap_err();
    let RenderError::UndefinedVariable { line, name, .. } = error else { panic!("{error:?}") };
    assert_eq!((line, name.as_str()), (3, "missing"));
}

#[test]
fn a_loop_variable_is_defined_in_its_loop_only() {
    assert_eq!(render("%{ for i in l }${[for j in l : \"${i}${j}\"][0]} %{ endfor }", &variables()).unwrap(), "pp qp ");
    let error = render("%{ for i in l }%{ endfor }${i}", &variables()).unwrap_err();
    assert!(matches!(error, RenderError::UndefinedVariable { .. }), "{error:?}");
}

#[test]
fn an_unknown_function_lists_the_known_ones() {
    let message = render("\n${uuid()}", &variables()).unwrap_err().to_string();
    assert!(
        message.starts_with("line 2: there is no function \"uuid\"") && message.contains("jsonencode"),
        "{message}"
    );
}

#[test]
fn lists_objects_and_null_are_not_text() {
    for template in ["x${l}", "${l}", "x${m}", "x${nul}"] {
        let error = render(template, &variables()).unwrap_err();
        assert!(matches!(error, RenderError::Evaluation { line: 1, .. }), "{template}: {error:?}");
    }
}

#[test]
fn an_unclosed_directive_is_a_syntax_error_with_a_line() {
    let error = render("one\n%{ if t }\nx", &variables()).unwrap_err();
    assert!(matches!(error, RenderError::Syntax { line, .. } if line >= 2), "{error:?}");
}
