//! Renders templates like Terraform's `templatefile`.
//!
//! hcl-rs parses templates and evaluates expressions. This module evaluates the template itself, because hcl-rs differs
//! from HashiCorp's HCL in two points. In HashiCorp's HCL, `~` strips white space of *one line* of the neighbouring
//! text, and a list, an object or null cannot be interpolated.

mod encode;
mod functions;
mod references;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use hcl::Value;
use hcl::edit::Span as _;
use hcl::edit::template::{Directive, Element, ForDirective, IfDirective, Template};
use hcl::eval::{Context, Evaluate as _};
use hcl::template::Strip;

/// Reason why a template cannot be rendered. Lines count from 1.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RenderError {
    /// The text is not a template. For example, a `${` is not closed, or a directive has no end.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
        /// Message of the parser.
        message: String,
    },
    /// A variable has no value. As in Terraform, this is an error in branches that are not taken too.
    #[error("line {line}: the template uses ${{{name}}}, which is not among the given variables ({known})")]
    UndefinedVariable {
        /// Line of the use.
        line: usize,
        /// Name of the variable.
        name: String,
        /// Names of the variables with values, separated by commas.
        known: String,
    },
    /// The template calls a function that does not exist here.
    #[error("line {line}: there is no function \"{name}\" here; known functions: {known}")]
    UndefinedFunction {
        /// Line of the call.
        line: usize,
        /// Name of the function.
        name: String,
        /// Names of all functions, separated by commas.
        known: String,
    },
    /// An expression failed, or its result cannot be a part of a text.
    #[error("line {line}: {message}")]
    Evaluation {
        /// Line of the interpolation or directive.
        line: usize,
        /// The mistake.
        message: String,
    },
}

/// Renders `template` with `variables`. The result is that of Terraform's `templatefile`.
///
/// The result is always text. In a template that is a single interpolation, a list or an object is an error.
///
/// # Errors
/// Those of [`RenderError`]. All of them name the line.
pub fn render(template: &str, variables: &BTreeMap<String, serde_json::Value>) -> Result<String, RenderError> {
    let parsed = Template::from_str(template).map_err(|error| RenderError::Syntax {
        line: error.location().line(),
        column: error.location().column(),
        message: error.message().to_owned(),
    })?;
    references::check(template, &parsed, variables)?;

    let mut context = Context::new();
    functions::declare(&mut context);
    let mut scope = Scope::default();
    for (name, value) in variables {
        // A template cannot use a name that is not an identifier.
        let Ok(identifier) = hcl::Identifier::new(name.clone()) else { continue };
        scope.names.push((identifier, json_to_hcl(value)));
    }
    let walk = Walk { source: template, functions: context };
    let mut out = String::with_capacity(template.len());
    walk.template(&mut out, &parsed, &scope, Strip::None, Strip::None)?;
    Ok(out)
}

/// Variables that an expression may use. A later variable hides an earlier one of the same name, as an inner `%{ for }`
/// does.
#[derive(Clone, Default)]
struct Scope {
    names: Vec<(hcl::Identifier, Value)>,
}

struct Walk<'a> {
    source: &'a str,
    functions: Context<'static>,
}

impl Walk<'_> {
    /// Renders a template or a part of one. `before` and `after` are the markers that enclose it.
    fn template(
        &self,
        out: &mut String,
        template: &Template,
        scope: &Scope,
        before: Strip,
        after: Strip,
    ) -> Result<(), RenderError> {
        let elements: Vec<&Element> = template.iter().collect();
        for (index, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    let previous = index.checked_sub(1).and_then(|at| elements.get(at));
                    let next = elements.get(index + 1);
                    let trim_start = previous.map_or(before.strip_end(), |element| strips_after(element));
                    let trim_end = next.map_or(after.strip_start(), |element| strips_before(element));
                    out.push_str(&trimmed(text, trim_start, trim_end));
                }
                Element::Interpolation(interpolation) => {
                    let value = self.evaluate(&interpolation.expr, scope)?;
                    let text = text_of(&value).map_err(|message| self.evaluation(&interpolation.expr, message))?;
                    out.push_str(&text);
                }
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(directive) => self.if_directive(out, directive, scope)?,
                    Directive::For(directive) => self.for_directive(out, directive, scope)?,
                },
            }
        }
        Ok(())
    }

    fn if_directive(&self, out: &mut String, directive: &IfDirective, scope: &Scope) -> Result<(), RenderError> {
        let condition = &directive.if_expr.cond_expr;
        let value = self.evaluate(condition, scope)?;
        let holds = functions::as_bool(&value).map_err(|message| self.evaluation(condition, message))?;
        let end = directive.endif_expr.strip;
        if holds {
            let next = directive.else_expr.as_ref().map_or(end, |otherwise| otherwise.strip);
            return self.template(out, &directive.if_expr.template, scope, directive.if_expr.strip, next);
        }
        match &directive.else_expr {
            Some(otherwise) => self.template(out, &otherwise.template, scope, otherwise.strip, end),
            None => Ok(()),
        }
    }

    fn for_directive(&self, out: &mut String, directive: &ForDirective, scope: &Scope) -> Result<(), RenderError> {
        let expression = &directive.for_expr.collection_expr;
        let items: Vec<(Value, Value)> = match self.evaluate(expression, scope)? {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(index, value)| (Value::from(index), value)).collect()
            }
            Value::Object(items) => {
                let sorted: BTreeMap<String, Value> = items.into_iter().collect();
                sorted.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
            }
            other => return Err(self.evaluation(expression, format!("cannot iterate over {}", kind_of(&other)))),
        };
        for (key, value) in items {
            let mut inner = scope.clone();
            if let Some(name) = &directive.for_expr.key_var {
                inner.names.push((identifier(name.as_str()), key));
            }
            inner.names.push((identifier(directive.for_expr.value_var.as_str()), value));
            self.template(
                out,
                &directive.for_expr.template,
                &inner,
                directive.for_expr.strip,
                directive.endfor_expr.strip,
            )?;
        }
        Ok(())
    }

    fn evaluate(&self, expression: &hcl::edit::expr::Expression, scope: &Scope) -> Result<Value, RenderError> {
        let mut context = self.functions.clone();
        for (name, value) in &scope.names {
            context.declare_var(name.clone(), value.clone());
        }
        let parsed = hcl::Expression::from(expression.clone());
        parsed.evaluate(&context).map_err(|error| self.evaluation(expression, error.to_string()))
    }

    fn evaluation(&self, expression: &hcl::edit::expr::Expression, message: String) -> RenderError {
        RenderError::Evaluation { line: line_of(self.source, expression.span()), message }
    }
}

fn identifier(name: &str) -> hcl::Identifier {
    // The parser accepted this name as an identifier.
    hcl::Identifier::sanitized(name)
}

fn line_of(source: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let offset = span.map_or(0, |span| span.start).min(source.len());
    source.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn strips_before(element: &Element) -> bool {
    match element {
        Element::Literal(_) => false,
        Element::Interpolation(interpolation) => interpolation.strip.strip_start(),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(directive) => directive.if_expr.strip.strip_start(),
            Directive::For(directive) => directive.for_expr.strip.strip_start(),
        },
    }
}

fn strips_after(element: &Element) -> bool {
    match element {
        Element::Literal(_) => false,
        Element::Interpolation(interpolation) => interpolation.strip.strip_end(),
        Element::Directive(directive) => match directive.as_ref() {
            Directive::If(directive) => directive.endif_expr.strip.strip_end(),
            Directive::For(directive) => directive.endfor_expr.strip.strip_end(),
        },
    }
}

/// Strips blanks as HCL does. HCL's scanner returns text line by line, and a strip marker changes only the line next to
/// it.
fn trimmed(text: &str, start: bool, end: bool) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    if start && let Some(first) = lines.first_mut() {
        *first = first.trim_start();
    }
    if end && let Some(last) = lines.last_mut() {
        *last = last.trim_end();
    }
    lines.concat()
}

fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Err("the expression is null, which cannot be a part of a text".to_owned()),
        Value::Array(_) | Value::Object(_) => {
            Err(format!("the expression is {}; text is required (use join() or jsonencode())", kind_of(value)))
        }
        scalar => functions::as_text(scalar),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn json_to_hcl(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => encode::number_from_json(number),
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(json_to_hcl).collect()),
        serde_json::Value::Object(items) => {
            Value::Object(items.iter().map(|(key, value)| (key.clone(), json_to_hcl(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests;
