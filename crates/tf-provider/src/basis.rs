//! The object from which known values are taken.

/// The object from which known values are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A plan or configuration, in which the core guarantees all required attributes.
    Plan,
    /// The state before an update. Attributes that it lacks are in the plan.
    Prior,
    /// The state of an object that is about to be destroyed.
    Last,
}
