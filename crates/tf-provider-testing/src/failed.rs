//! The error of a test, with a description for a person.

use std::fmt;

/// A failed check with the step, the core and its version, and the core's output.
///
/// `Debug` shows the same text as `Display`, so that a test function may return it.
#[derive(Clone)]
pub struct Failed {
    /// Places, from the innermost to the outermost.
    places: Vec<String>,
    problem: String,
    output: Option<String>,
}

impl Failed {
    /// Returns a failure with this problem.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { places: Vec::new(), problem: problem.into(), output: None }
    }

    /// Adds the output of a program.
    #[must_use]
    pub fn with_output(mut self, output: impl Into<String>) -> Self {
        self.output = Some(output.into());
        self
    }

    /// Adds the place, as in `step "create"`. Places that are added later are printed before earlier ones.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.places.push(place.to_string());
        self
    }

    /// Returns a function that converts an I/O error of an action such as `reading FILE`.
    pub(crate) fn io(doing: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::new(format!("{doing}: {error}"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.places.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.problem)?;
        match self.output.as_deref().map(str::trim) {
            Some(output) if !output.is_empty() => write!(f, "\n--- output:\n{output}\n---"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failed {}
