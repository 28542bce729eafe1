//! The description of a resource type for the suite.

use serde_json::Value;

use super::step::ConformanceStep;
use super::{Body, World};
use crate::{Attributes, Failed, Harness};

/// The moment at which the provider's API fails during a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A moment after which nothing is left. There can be several; each has a number, from 0.
    Undone(usize),
    /// A moment after which a part exists and cannot be removed.
    Middle,
    /// The end: everything exists, but the answer is lost.
    After,
}

/// An operation that is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Creation.
    Create,
    /// Change in place.
    Update,
    /// Destruction.
    Delete,
}

/// Words that the output of a failing operation must have.
pub type Words = &'static [&'static str];

/// How a resource is imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// Id for the import.
    pub id: String,
    /// Identity, as the inside of an object in HCL; `None` only if the schema declares none.
    pub identity: Option<String>,
    /// Attributes that an import cannot know, such as deadlines.
    pub unknowable: &'static [&'static str],
    /// Action in the next plan: `no-op`, or `update` if the configuration has values that cannot be read.
    pub then: &'static str,
}

/// Values that must not be visible anywhere.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Ephemeral variables of the configuration, and their values.
    pub variables: Vec<(&'static str, String)>,
    /// Resource that uses the variables, as `var.NAME`.
    pub body: Body,
    /// Secrets that reach the provider in another way, such as its environment.
    pub others: Vec<String>,
}

/// A value for a round trip.
#[derive(Debug, Clone)]
pub struct RoundTrip {
    /// Name of the attribute.
    pub attribute: &'static str,
    /// Expression in HCL.
    pub expression: String,
    /// Value in JSON that the state must have. Numbers are compared by every digit.
    pub stored: String,
}

impl RoundTrip {
    /// Returns a round trip of an expression that is the same text in JSON.
    #[must_use]
    pub fn alike(attribute: &'static str, text: &str) -> Self {
        Self::new(attribute, text, text)
    }

    /// Returns a round trip of an expression with a value in JSON.
    #[must_use]
    pub fn new(attribute: &'static str, expression: &str, stored: &str) -> Self {
        Self { attribute, expression: expression.to_owned(), stored: stored.to_owned() }
    }
}

/// A function that converts a resource's attributes, as in a state file, to those of an older schema version.
pub type Downgrade = fn(&mut Attributes);

/// A resource type under test.
///
/// All configurations are bodies of a block whose name the suite chooses. [`Self::not_applicable`] names the steps that
/// do not apply to the type, with the reason.
#[allow(async_fn_in_trait, reason = "test code that is awaited where it is called")]
pub trait Subject: Sized {
    /// World with the API that the provider calls.
    type World: World;
    /// Name of the type, as in `paper_note`.
    const TYPE: &'static str;
    /// Number of instances in the step with many instances.
    const INSTANCES: usize = 50;
    /// Computed attributes that no change in place affects, such as an identifying number.
    const KEPT: &'static [&'static str] = &[];

    /// Prepares a new world for the type.
    async fn begin(world: &mut Self::World, harness: &mut Harness) -> Result<Self, Failed>;

    /// Returns the provider block, and other blocks that the resource needs.
    fn other_blocks(&self, world: &Self::World) -> String {
        world.provider_block()
    }

    /// Returns the resource with every optional argument.
    fn full(&self) -> Body;

    /// Returns the resource without optional arguments.
    fn required(&self) -> Body;

    /// Returns the resource that is imported: the full one, except for arguments that would hide the result of an
    /// import.
    fn imported(&self) -> Body {
        self.full()
    }

    /// Returns new values of arguments that change the full resource in place, applied one after the other. Every
    /// argument must be here, in [`Self::replacements`], or in [`Self::exempt`].
    fn updates(&self) -> Vec<(&'static str, String)>;

    /// Returns new values of arguments that replace the full resource.
    fn replacements(&self) -> Vec<(&'static str, String)>;

    /// Returns arguments whose change is not tested, with the reason.
    fn exempt(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Returns the values of attributes after their argument is removed. All others must be null.
    fn defaults(&self) -> Vec<(&'static str, Value)>;

    /// Returns how the resource is imported.
    fn import(&self, attributes: &Value) -> Import;

    /// Removes the object outside of the provider.
    async fn remove(&mut self, world: &mut Self::World, attributes: &Value);

    /// Changes the object outside of the provider, and returns the attribute that shows the change; `None` if no change
    /// would be visible.
    async fn change(&mut self, world: &mut Self::World, attributes: &Value) -> Option<&'static str>;

    /// Makes the next creation of the full resource fail at a moment, and returns the words of the error; `None` if
    /// that cannot happen.
    async fn break_create(&mut self, world: &mut Self::World, moment: Moment) -> Option<Words>;

    /// Makes the next change fail, and returns the changed resource and the words of the error; `None` if a change
    /// makes no call that can fail.
    async fn break_update(&mut self, world: &mut Self::World) -> Option<(Body, Words)>;

    /// Makes the next destruction fail, and returns the words of the error.
    async fn break_delete(&mut self, world: &mut Self::World) -> Words;

    /// Makes an operation pause in the middle, and returns the resource to apply and the words of the error after an
    /// interrupt; `None` if the operation cannot pause.
    async fn hold(&mut self, world: &mut Self::World, operation: Operation) -> Option<(Body, Words)>;

    /// Returns true if the operation has paused.
    async fn is_held(&mut self, world: &mut Self::World, operation: Operation) -> bool;

    /// Removes the subject's own faults. The suite also calls [`World::heal`].
    async fn heal(&mut self) {}

    /// Returns the secrets; `None` if neither the type nor its provider has any.
    fn secrets(&self, world: &Self::World) -> Option<Secrets>;

    /// Returns the older schema versions, each with a function that converts the current attributes to that version.
    fn older_states(&self) -> Vec<(i64, Downgrade)> {
        Vec::new()
    }

    /// Returns values for round trips: fractions, integers beyond 2^53, empty and unusual texts, empty collections.
    fn round_trips(&self) -> Vec<RoundTrip>;

    /// Returns the resource for many instances, where `${count.index}` is the number of the instance.
    fn numbered(&self) -> Body;

    /// Returns the reason why a step does not apply to the type.
    fn not_applicable(_step: ConformanceStep) -> Option<&'static str> {
        None
    }
}
