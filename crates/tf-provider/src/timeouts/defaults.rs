//! Deadlines that a model declares.

/// The four operations that can have a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Read,
    Update,
    Delete,
}

/// Deadlines that a model declares with `#[tf(timeouts(create = "30m", …))]`, in the form `90s`, `30m`, `1h30m`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    /// Deadline of create.
    pub create: Option<&'static str>,
    /// Deadline of read.
    pub read: Option<&'static str>,
    /// Deadline of update.
    pub update: Option<&'static str>,
    /// Deadline of delete.
    pub delete: Option<&'static str>,
}

impl Defaults {
    /// Returns the declared duration for an operation.
    pub(crate) fn of(&self, operation: Operation) -> Option<&'static str> {
        match operation {
            Operation::Create => self.create,
            Operation::Read => self.read,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }

    /// Returns the operations that have a declared duration.
    pub(super) fn declared(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [("create", self.create), ("read", self.read), ("update", self.update), ("delete", self.delete)];
        all.into_iter().filter_map(|(name, default)| Some((name, default?)))
    }
}
