//! Calls of provider functions.

use crate::erased::{DynFunction, Signature};
use crate::function::FunctionError;
use crate::validate;
use crate::value::Value;

/// Runs the declared checks on the arguments, calls the function, and checks the result.
pub(crate) fn call(
    function: &dyn DynFunction,
    signature: &Signature,
    arguments: Vec<Value>,
) -> Result<Value, FunctionError> {
    for (position, value) in arguments.iter().enumerate() {
        let parameter = signature.parameter(position);
        let parameter = parameter.ok_or_else(|| FunctionError::new("There are too many arguments."))?;
        if value.is_null() || value.is_unknown() {
            continue;
        }
        for check in &parameter.checks {
            validate::run_check(check, value).map_err(|text| FunctionError::new(text).at_position(position))?;
        }
    }
    let known = arguments.iter().all(Value::is_wholly_known);
    let result = function.call(arguments)?;
    if known && !result.is_wholly_known() {
        return Err("Provider bug: the result is unknown, although all arguments are known.".into());
    }
    Ok(result)
}
