//! Sixteen steps that every resource type should pass with every core.
//!
//! A [`World`] is the API that a provider calls. A [`Subject`] describes a type: its configurations, how to change
//! objects outside of the provider, how to make the API fail. [`run`] runs the steps, each in a new world:
//!
//! | # | Step | Passes if |
//! | --- | --- | --- |
//! | 1 | plan with all inputs unknown | plan and apply succeed |
//! | 2 | create | the result matches the plan |
//! | 3 | second plan, without and with refresh | both are empty, with all arguments and with the required ones |
//! | 4 | import by id and by identity | the state is the same, the plan is empty |
//! | 5 | every updatable argument changed | changed in place, the next plan is empty, identifying attributes are kept |
//! | 6 | every other argument changed | the object is replaced, with that argument as the reason |
//! | 7 | optional arguments removed | the attributes are default or null, the next plan is empty |
//! | 8 | object removed, and changed, outside of the provider | it is created again; the change is shown and repaired |
//! | 9 | the API fails before, in the middle of, and after a creation, and in an update | the error is shown, the state is true, the next apply repairs, no object is left over |
//! | 10 | interrupt in create, update, delete | the run ends in seconds, the state is true, the next apply repairs |
//! | 11 | destroy fails once | the error is shown, the object stays in the state, the second destroy succeeds |
//! | 12 | secrets | none in state, plan, log at the highest level, output, or anything else that others can read |
//! | 13 | state of each older schema version | the plan is empty |
//! | 14 | fractions, big integers, empty and unusual texts | they are stored unchanged |
//! | 15 | fifty instances at once | all exist, the plan is empty, destroy removes all |
//! | 16 | schema | it matches the committed file |
//!
//! Steps that need a feature which the core or the type does not have are printed as not applicable, with the core and
//! its version. `TF_PROVIDER_STEPS=4,10` selects steps.

mod body;
mod data;
mod failures;
mod fixture;
mod lifecycle;
mod step;
mod subject;
mod world;

pub use self::body::Body;
use self::fixture::Fixture;
pub use self::step::ConformanceStep;
pub use self::subject::{Downgrade, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
pub use self::world::World;
use super::{Core, Failed};

use ConformanceStep as Is;

const CHOSEN: &str = "TF_PROVIDER_STEPS";

/// Runs all steps with a core. A step that fails does not stop the others.
///
/// # Errors
/// Fails if a step fails, and lists all such steps with the type, the core and the output.
pub async fn run<S: Subject>(core: &Core) -> Result<(), Failed> {
    run_steps::<S>(core, &ConformanceStep::ALL).await
}

/// Runs these steps, as [`run`] does.
///
/// # Errors
/// Fails as [`run`] does.
pub async fn run_steps<S: Subject>(core: &Core, steps: &[ConformanceStep]) -> Result<(), Failed> {
    let chosen = std::env::var(CHOSEN).ok();
    let mut failures: Vec<String> = Vec::new();
    for step in steps.iter().copied().filter(|step| step.is_chosen(chosen.as_deref())) {
        if let Some(reason) = S::not_applicable(step) {
            println!("not applicable: {}, {step}, {core}: {reason}", S::TYPE);
            continue;
        }
        match run_step::<S>(core, step).await {
            Ok(notes) => {
                notes.iter().for_each(|note| println!("not applicable: {}, {step}, {core}: {note}", S::TYPE));
            }
            Err(failed) => {
                failures.push(failed.within(format_args!("{}, {step}, {core}", S::TYPE)).to_string());
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failed::new(format!("{} steps failed:\n\n{}", failures.len(), failures.join("\n\n"))))
}

async fn run_step<S: Subject>(core: &Core, step: ConformanceStep) -> Result<Vec<String>, Failed> {
    let mut fixture = Fixture::<S>::begin(core, step).await?;
    match step {
        Is::UnknownInputs => lifecycle::unknown_inputs(&mut fixture).await,
        Is::Create => lifecycle::create(&mut fixture).await,
        Is::SecondPlan => lifecycle::second_plan(&mut fixture).await,
        Is::Import => lifecycle::import(&mut fixture).await,
        Is::Update => lifecycle::update(&mut fixture).await,
        Is::Replace => lifecycle::replace(&mut fixture).await,
        Is::Unset => lifecycle::unset(&mut fixture).await,
        Is::Drift => lifecycle::drift(&mut fixture).await,
        Is::FailingCalls => failures::failing_calls(&mut fixture).await,
        Is::Interrupt => failures::interrupt(&mut fixture).await,
        Is::FailingDestroy => failures::failing_destroy(&mut fixture).await,
        Is::Secrets => data::secrets(&mut fixture).await,
        Is::OlderStates => data::older_states(&mut fixture).await,
        Is::RoundTrips => data::round_trips(&mut fixture).await,
        Is::Many => data::many(&mut fixture).await,
        Is::Snapshot => data::snapshot(&mut fixture).await,
    }?;
    Ok(fixture.notes)
}
