//! Finds every variable and function that a template refers to, before anything is evaluated.

use std::collections::BTreeMap;

use hcl::edit::Ident;
use hcl::edit::Span as _;
use hcl::edit::expr::{Expression, ForExpr, FuncCall};
use hcl::edit::template::{ForDirective, Template};
use hcl::edit::visit::{self, Visit};

use super::{RenderError, functions, line_of};

/// Returns an error for the first variable or function that does not exist.
pub(super) fn check(
    source: &str,
    template: &Template,
    variables: &BTreeMap<String, serde_json::Value>,
) -> Result<(), RenderError> {
    let mut references = References { source, variables, bound: Vec::new(), problem: None };
    references.visit_template(template);
    references.problem.map_or(Ok(()), Err)
}

struct References<'a> {
    source: &'a str,
    variables: &'a BTreeMap<String, serde_json::Value>,
    bound: Vec<String>,
    problem: Option<RenderError>,
}

impl References<'_> {
    fn report(&mut self, problem: RenderError) {
        self.problem.get_or_insert(problem);
    }

    fn variable(&mut self, name: &str, span: Option<std::ops::Range<usize>>) {
        if self.bound.iter().any(|bound| bound == name) || self.variables.contains_key(name) {
            return;
        }
        let known: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        self.report(RenderError::UndefinedVariable { line: line_of(self.source, span), name: name.to_owned(), known });
    }

    fn within(&mut self, names: impl IntoIterator<Item = String>, inner: impl FnOnce(&mut Self)) {
        let depth = self.bound.len();
        self.bound.extend(names);
        inner(self);
        self.bound.truncate(depth);
    }
}

fn names(key: Option<&Ident>, value: &Ident) -> Vec<String> {
    key.into_iter().chain([value]).map(|name| name.as_str().to_owned()).collect()
}

impl Visit for References<'_> {
    fn visit_expr(&mut self, node: &Expression) {
        match node {
            Expression::Variable(name) => self.variable(name.as_str(), node.span()),
            other => visit::visit_expr(self, other),
        }
    }

    fn visit_func_call(&mut self, node: &FuncCall) {
        let name = node.name.name.as_str();
        if node.name.is_namespaced() || !functions::is_known(name) {
            let line = line_of(self.source, node.name.name.span().or(node.span()));
            self.report(RenderError::UndefinedFunction { line, name: name.to_owned(), known: functions::known() });
        }
        visit::visit_func_call(self, node);
    }

    fn visit_for_expr(&mut self, node: &ForExpr) {
        self.visit_expr(&node.intro.collection_expr);
        let bound = names(node.intro.key_var.as_deref(), &node.intro.value_var);
        self.within(bound, |inner| {
            if let Some(key) = &node.key_expr {
                inner.visit_expr(key);
            }
            inner.visit_expr(&node.value_expr);
            if let Some(condition) = &node.cond {
                inner.visit_expr(&condition.expr);
            }
        });
    }

    fn visit_for_directive(&mut self, node: &ForDirective) {
        self.visit_expr(&node.for_expr.collection_expr);
        let bound = names(node.for_expr.key_var.as_deref(), &node.for_expr.value_var);
        self.within(bound, |inner| inner.visit_template(&node.for_expr.template));
    }
}
