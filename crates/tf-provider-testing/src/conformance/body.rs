//! The body of a resource block as a list of arguments, so that a step can change one of them.

use std::fmt::Write;

/// The arguments and blocks of a resource, in order.
#[derive(Debug, Clone, Default)]
pub struct Body(Vec<Part>);

#[derive(Debug, Clone)]
struct Part {
    name: String,
    text: String,
    is_block: bool,
}

impl Body {
    /// Returns a body with these arguments: names, and expressions in HCL.
    pub fn new<'a>(arguments: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        arguments.into_iter().fold(Self::default(), |body, (name, expression)| body.set(name, expression))
    }

    /// Adds an argument, or replaces the argument of that name.
    #[must_use]
    pub fn set(self, name: &str, expression: impl Into<String>) -> Self {
        self.put(name, expression.into(), false)
    }

    /// Adds a block, `{ … }`, or replaces the block of that name. The name of a block with a label contains the label.
    #[must_use]
    pub fn block(self, name: &str, text: impl Into<String>) -> Self {
        self.put(name, text.into(), true)
    }

    fn put(mut self, name: &str, text: String, is_block: bool) -> Self {
        let part = Part { name: name.to_owned(), text, is_block };
        match self.0.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = part,
            None => self.0.push(part),
        }
        self
    }

    /// Removes an argument or block.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|part| part.name != name);
        self
    }

    /// Returns the names of the arguments and blocks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|part| part.name.split(' ').next().unwrap_or_default())
    }

    pub(super) fn is_block(&self, name: &str) -> bool {
        self.0.iter().any(|part| part.name == name && part.is_block)
    }

    /// Returns the text for a configuration.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for Part { name, text: value, is_block } in &self.0 {
            let sign = if *is_block { "" } else { "= " };
            let _infallible = writeln!(text, "  {name} {sign}{value}");
        }
        text
    }

    /// Returns a body whose arguments come from the object `from`, and that object with the expressions.
    pub(super) fn taken_from(&self, from: &str) -> (Self, String) {
        let (mut taken, mut object) = (self.clone(), String::from("{\n"));
        for part in taken.0.iter_mut().filter(|part| !part.is_block) {
            let _infallible = writeln!(object, "    {} = {}", part.name, part.text);
            part.text = format!("{from}.{}", part.name);
        }
        object.push_str("  }");
        (taken, object)
    }
}

#[cfg(test)]
mod tests {
    use super::Body;

    #[test]
    fn parts_are_changed_by_name() {
        let body = Body::new([("a", "1"), ("b", "\"x\"")]).block("c \"y\"", "{ d = 2 }").set("a", "3").without("b");
        assert_eq!(body.render(), "  a = 3\n  c \"y\" { d = 2 }\n");
        assert_eq!(body.names().collect::<Vec<_>>(), ["a", "c"]);
        let (taken, object) = body.taken_from("x.y.output");
        assert_eq!((taken.render().lines().next(), object.as_str()), (Some("  a = x.y.output.a"), "{\n    a = 3\n  }"));
    }
}
