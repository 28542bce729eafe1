//! Everything that the suite must know of a resource type.

use serde_json::Value;

use super::{Body, ConformanceStep, World};
use crate::{Attributes, Failed, Harness};

/// How the provider's API fails a creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is left of what was started. There may be several such points: each has its number, from 0.
    Undone(usize),
    /// Something exists, but not all of it, and it cannot be cleared away.
    Middle,
    /// All is done, but the answer gets lost.
    After,
}

/// The interrupted operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The creation.
    Create,
    /// A change in place.
    Update,
    /// The destruction.
    Delete,
}

/// Words that must stand in what a failing operation says.
pub type Words = &'static [&'static str];

/// How a resource is imported.
#[derive(Debug, Clone)]
pub struct Import {
    /// The id.
    pub id: String,
    /// The identity, as the inside of an object in HCL; `None` only where the schema declares none.
    pub identity: Option<String>,
    /// Attributes that an import cannot know, such as deadlines.
    pub unknowable: &'static [&'static str],
    /// Action in the first plan after it: `no-op`, or `update` where the configuration has what cannot be read back.
    pub then: &'static str,
}

/// Values that must not be seen anywhere.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Variables of the configuration, declared ephemeral, and their values.
    pub variables: Vec<(&'static str, String)>,
    /// The resource with them, as `var.NAME`.
    pub body: Body,
    /// Secrets that reach the provider by another way, such as its environment.
    pub others: Vec<String>,
}

/// A value for a round trip.
#[derive(Debug, Clone)]
pub struct RoundTrip {
    /// The attribute.
    pub attribute: &'static str,
    /// Its expression in HCL.
    pub expression: String,
    /// The value that the state must hold, in JSON; numbers to the last digit.
    pub stored: String,
}

impl RoundTrip {
    /// An expression whose value is the same text in JSON.
    #[must_use]
    pub fn alike(attribute: &'static str, text: &str) -> Self {
        Self::new(attribute, text, text)
    }

    /// An expression, and its value in JSON.
    #[must_use]
    pub fn new(attribute: &'static str, expression: &str, stored: &str) -> Self {
        Self { attribute, expression: expression.to_owned(), stored: stored.to_owned() }
    }
}

/// Turns a resource's attributes of today, as a state file has them, into those of an older schema version.
pub type Downgrade = fn(&mut Attributes);

/// One resource type.
///
/// All configurations are bodies of a block whose name is the suite's. Steps that a type cannot take, it names with the
/// reason in [`Self::not_applicable`].
#[allow(async_fn_in_trait, reason = "test code that is awaited where it is called")]
pub trait Subject: Sized {
    /// The world that its provider talks to.
    type World: World;
    /// The type's name, as in `paper_note`.
    const TYPE: &'static str;
    /// Number of instances in the step with many.
    const INSTANCES: usize = 50;
    /// Computed attributes that no change in place touches, such as a number by which others know it.
    const KEPT: &'static [&'static str] = &[];

    /// Prepares a fresh world for the type.
    async fn begin(world: &mut Self::World, harness: &mut Harness) -> Result<Self, Failed>;

    /// The provider block, and whatever else must stand beside the resource.
    fn beside(&self, world: &Self::World) -> String {
        world.provider_block()
    }

    /// The resource with every optional argument set.
    fn full(&self) -> Body;

    /// The resource with nothing that is optional.
    fn required(&self) -> Body;

    /// The resource that is imported: the full one, but for arguments that would only hide what an import finds.
    fn imported(&self) -> Body {
        self.full()
    }

    /// New values by argument that change the full resource in place, tried one after the other. Every argument must be here,
    /// or in [`Self::replacements`], or in [`Self::exempt`].
    fn updates(&self) -> Vec<(&'static str, String)>;

    /// New values by argument that replace the full resource.
    fn replacements(&self) -> Vec<(&'static str, String)>;

    /// Arguments of which no change is tried, and why.
    fn exempt(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Values of attributes after their argument is removed. Attributes that are not named must be null.
    fn defaults(&self) -> Vec<(&'static str, Value)>;

    /// How that resource is imported.
    fn import(&self, attributes: &Value) -> Import;

    /// Removes it behind the provider's back.
    async fn remove(&mut self, world: &mut Self::World, attributes: &Value);

    /// Changes it behind the provider's back, and names the attribute that shows it; `None` where nothing of it can be
    /// changed and seen.
    async fn change(&mut self, world: &mut Self::World, attributes: &Value) -> Option<&'static str>;

    /// Lets the next creation of the full resource fail so, and gives what must be said of it; `None` where that cannot
    /// happen.
    async fn break_create(&mut self, world: &mut Self::World, moment: Moment) -> Option<Words>;

    /// Lets the next change fail, and gives the resource to try it with, and what must be said; `None` where a change
    /// makes no call that could fail.
    async fn break_update(&mut self, world: &mut Self::World) -> Option<(Body, Words)>;

    /// Lets the next destruction fail, and gives what must be said of it.
    async fn break_delete(&mut self, world: &mut Self::World) -> Words;

    /// Makes that operation stand still in its middle, and gives the resource to try it with, and what must be said when it
    /// is interrupted; `None` where it is done at once.
    async fn hold(&mut self, world: &mut Self::World, operation: Operation) -> Option<(Body, Words)>;

    /// Returns true if the operation stands still now.
    async fn is_held(&mut self, world: &mut Self::World, operation: Operation) -> bool;

    /// Lets everything of its own work again; [`World::heal`] is called too.
    async fn heal(&mut self) {}

    /// Its secrets; `None` where neither it nor its provider has any.
    fn secrets(&self, world: &Self::World) -> Option<Secrets>;

    /// States of older schema versions: each version, and what turns the attributes of today into its own.
    fn older_states(&self) -> Vec<(i64, Downgrade)> {
        Vec::new()
    }

    /// Values to send through: fractions, integers beyond 2^53, empty and odd texts, empty collections.
    fn round_trips(&self) -> Vec<RoundTrip>;

    /// The resource as one of many: `${count.index}` is its number.
    fn numbered(&self) -> Body;

    /// Why a step cannot be taken with this type.
    fn not_applicable(_step: ConformanceStep) -> Option<&'static str> {
        None
    }
}
