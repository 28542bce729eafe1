use std::collections::BTreeMap;

use super::{malformed, raw, service};
use crate::schema::Type;
use crate::wire::{messages, tfplugin6 as proto};
use crate::{Attr, Function, FunctionError, Parameters, Value};

/// Joins parts
/// by a separator.
///
/// Nothing is put before the first part.
#[derive(Parameters)]
#[tf(deprecated = "Use the core's own.")]
pub(super) struct JoinParameters {
    /// Between the parts; a space if null.
    #[tf(length(..=3), validate = calm)]
    separator: Option<String>,
    /// The parts.
    #[tf(variadic, length(1..))]
    parts: Vec<String>,
}

fn calm(separator: &str) -> Result<(), String> {
    assert!(!separator.contains('!'), "no exclamation, please");
    Ok(())
}

pub(super) struct Join;

impl Function for Join {
    const NAME: &'static str = "join";
    type Parameters = JoinParameters;
    type Output = String;

    fn call(&self, arguments: JoinParameters) -> Result<String, FunctionError> {
        if let Some(position) = arguments.parts.iter().position(|part| part == "wrong") {
            return Err(FunctionError::new("This part is wrong.").at_position(position + 1));
        }
        if arguments.parts.is_empty() {
            return Err(FunctionError::new("There is nothing to join.").at("parts"));
        }
        if arguments.parts == ["panics"] {
            panic!("asked to");
        }
        Ok(arguments.parts.join(arguments.separator.as_deref().unwrap_or(" ")))
    }
}

/// Returns entries whose value is odd.
#[derive(Parameters)]
pub(super) struct OddParameters {
    /// Numbers by name; unknown as a whole is fine.
    numbers: Attr<BTreeMap<String, i64>>,
}

pub(super) struct Odd;

impl Function for Odd {
    const NAME: &'static str = "odd";
    type Parameters = OddParameters;
    type Output = Attr<BTreeMap<String, i64>>;

    fn call(&self, arguments: OddParameters) -> Result<Self::Output, FunctionError> {
        Ok(match arguments.numbers {
            Attr::Known(numbers) => Attr::Known(numbers.into_iter().filter(|(_, number)| number % 2 != 0).collect()),
            other => other,
        })
    }
}

/// Returns the time, so it is not a function.
#[derive(Parameters)]
pub(super) struct NowParameters;

pub(super) struct Now;

impl Function for Now {
    const NAME: &'static str = "now";
    type Parameters = NowParameters;
    type Output = Attr<String>;

    fn call(&self, _: NowParameters) -> Result<Attr<String>, FunctionError> {
        Ok(Attr::Unknown)
    }
}

fn text(text: &str) -> proto::DynamicValue {
    messages::dynamic(&Value::String(text.to_owned()), &Type::String)
}

fn null() -> proto::DynamicValue {
    messages::dynamic(&Value::Null, &Type::String)
}

fn unknown() -> proto::DynamicValue {
    messages::dynamic(&Value::Unknown, &Type::String)
}

async fn call(name: &str, arguments: Vec<proto::DynamicValue>) -> Result<proto::DynamicValue, (String, Option<i64>)> {
    let request = proto::call_function::Request { name: name.to_owned(), arguments };
    let answer = service().call_function(request).await.expect("answered");
    match answer.error {
        None => Ok(answer.result.expect("result")),
        Some(error) => Err((error.text, error.function_argument)),
    }
}

async fn join(arguments: Vec<proto::DynamicValue>) -> Result<String, (String, Option<i64>)> {
    let result = call("join", arguments).await?;
    let Value::String(joined) = raw(&result, &Type::String) else { panic!("text") };
    Ok(joined)
}

fn refusal<T>(text: &str, position: impl Into<Option<i64>>) -> Result<T, (String, Option<i64>)> {
    Err((text.to_owned(), position.into()))
}

#[test]
fn the_declaration_is_published() {
    let functions = service().get_functions(proto::get_functions::Request {}).expect("answered").functions;
    let join = &functions["join"];
    assert_eq!(join.summary, "Joins parts by a separator.");
    assert!(join.description.ends_with("Nothing is put before the first part."));
    assert_eq!(join.deprecation_message, "Use the core's own.");
    let separator = &join.parameters[0];
    assert_eq!((separator.name.as_str(), separator.r#type.as_slice()), ("separator", &b"\"string\""[..]));
    assert!(separator.allow_null_value && !separator.allow_unknown_values);
    let parts = join.variadic_parameter.as_ref().expect("variadic");
    assert_eq!((parts.name.as_str(), parts.description.as_str()), ("parts", "The parts."));
    assert!(!parts.allow_null_value && !parts.allow_unknown_values);
    let odd = &functions["odd"];
    assert!(odd.parameters[0].allow_null_value && odd.parameters[0].allow_unknown_values);
    assert_eq!(odd.r#return.as_ref().expect("type").r#type, br#"["map","number"]"#);
    assert!(functions["now"].parameters.is_empty() && functions["now"].variadic_parameter.is_none());
}

#[tokio::test]
async fn an_unconfigured_provider_answers() {
    assert_eq!(join(vec![text("-"), text("a"), text("ü")]).await, Ok("a-ü".to_owned()));
    assert_eq!(join(vec![null(), text("a"), text("b")]).await, Ok("a b".to_owned()));
}

#[tokio::test]
async fn errors_name_the_argument() {
    assert_eq!(join(vec![text("-"), text("a"), text("wrong")]).await, refusal("This part is wrong", 2));
    assert_eq!(join(vec![text("-")]).await, refusal("There is nothing to join", 1));
    let long = "length must be at most 3, got 4";
    assert_eq!(join(vec![text("----"), text("a")]).await, refusal(long, 0));
    let empty = "length must be at least 1, got 0";
    assert_eq!(join(vec![text("-"), text("a"), text("")]).await, refusal(empty, 2));
    let (panic, position) = join(vec![text("!"), text("a")]).await.expect_err("refused");
    assert!(panic.contains("no exclamation, please") && position == Some(0), "{panic}");
    let (panic, position) = join(vec![null(), text("panics")]).await.expect_err("refused");
    assert!(panic.contains("asked to") && position.is_none(), "{panic}");
}

/// Cores do not send these requests, but input from outside is checked.
#[tokio::test]
async fn undeclared_arguments_are_refused() {
    assert_eq!(join(vec![]).await, refusal("There are too few arguments", None));
    assert_eq!(join(vec![text("-"), null()]).await, refusal("must not be null", 1));
    assert_eq!(join(vec![unknown(), text("a")]).await, refusal("must not be unknown", 0));
    let bug = "Provider bug: the result is unknown, although all arguments are known";
    assert_eq!(call("now", vec![]).await.expect_err("refused").0, bug);
    let refused = |name: &str, arguments| {
        let request = proto::call_function::Request { name: name.to_owned(), arguments };
        async move { service().call_function(request).await.expect_err("refused").message().to_owned() }
    };
    assert_eq!(refused("split", vec![]).await, "this provider has no function \"split\"");
    assert_eq!(refused("now", vec![text("x")]).await, "too many arguments");
    assert!(refused("join", vec![malformed()]).await.contains("malformed value"));
}

#[tokio::test]
async fn null_and_unknown_pass_where_declared() {
    let map = Type::Map(Box::new(Type::Number));
    for value in [Value::Null, Value::Unknown] {
        let result = call("odd", vec![messages::dynamic(&value, &map)]).await.expect("result");
        assert!(raw(&result, &map) == value);
    }
    let numbers = |names: &[(&str, i64)]| {
        Value::Map(names.iter().map(|(name, number)| ((*name).to_owned(), Value::Number((*number).into()))).collect())
    };
    let argument = messages::dynamic(&numbers(&[("a", 1), ("b", 2)]), &map);
    let result = call("odd", vec![argument]).await.expect("result");
    assert!(raw(&result, &map) == numbers(&[("a", 1)]));
}
