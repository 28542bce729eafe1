//! Where in a resource a value stands.

use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Attribute of an object.
    Attribute(String),
    /// Element of a list, from zero. Elements of sets have no path of their own.
    Index(i64),
    /// Entry of a map.
    Key(String),
}

/// The way from a resource's root to a value; the core shows the user's line for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

impl Path {
    /// The resource itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A top-level attribute.
    #[must_use]
    pub fn attribute(name: &str) -> Self {
        Self::root().then(name)
    }

    /// This path and an attribute below it.
    #[must_use]
    pub fn then(&self, name: &str) -> Self {
        self.with(Step::Attribute(name.to_owned()))
    }

    /// This path and a list element below it.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    /// This path and a map entry below it.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The steps from the root.
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
    /// Dotted attribute names: `network.bridge`.
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
