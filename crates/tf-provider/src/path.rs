//! Paths of values in a resource.

use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// An attribute of an object.
    Attribute(String),
    /// An element of a list, from zero. Elements of sets have no path.
    Index(i64),
    /// An entry of a map.
    Key(String),
}

/// The path from the root of a resource to a value. The core shows the user's line for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

impl Path {
    /// Returns the path of the resource itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the path of a top-level attribute.
    #[must_use]
    pub fn attribute(name: &str) -> Self {
        Self::root().then(name)
    }

    /// Returns the path of an attribute below this path.
    #[must_use]
    pub fn then(&self, name: &str) -> Self {
        self.with(Step::Attribute(name.to_owned()))
    }

    /// Returns the path of a list element below this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    /// Returns the path of a map entry below this path.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// Returns the steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl From<&str> for Path {
    /// Converts dotted attribute names: `network.bridge`.
    fn from(dotted: &str) -> Self {
        dotted.split('.').fold(Self::root(), |path, name| path.then(name))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Attribute(name) if position == 0 => write!(f, "{name}")?,
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}
