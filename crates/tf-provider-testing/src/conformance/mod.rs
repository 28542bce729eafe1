//! Sixteen steps that every resource type should take, with every core.
//!
//! A [`World`] is what a provider talks to. A [`Subject`] says what is particular to a type: its configurations, how to reach
//! behind the provider's back, how to make the API fail. [`run`] takes the steps, each in a world of its own:
//!
//! | # | Step | Holds when |
//! | --- | --- | --- |
//! | 1 | plan with all inputs unknown | it plans and applies |
//! | 2 | create | the result is the plan |
//! | 3 | second plan, without and with refresh | both are empty; with all arguments, and with the required ones |
//! | 4 | import by id and by identity | the state is as it was, the plan is empty |
//! | 5 | every updatable argument changed | in place, then nothing to do; what identifies it is kept |
//! | 6 | every other argument changed | replaced, with that argument as the reason |
//! | 7 | optional arguments removed | default or null again, nothing to do |
//! | 8 | removed, and changed, behind our back | created again; the change is shown and repaired |
//! | 9 | the API fails before, in the middle, after a creation, in an update | nothing, or tainted, or kept; it is said; the next apply heals; no orphan |
//! | 10 | interrupt in create, update, delete | ends in seconds, the state is true, the next apply heals, also back to what was |
//! | 11 | destruction fails once | it is said and stays in the state, and goes the second time |
//! | 12 | secrets | in no state, plan, log at its loudest, output, or what else others can read |
//! | 13 | state of each older schema version | nothing to do |
//! | 14 | fractions, big integers, empty and odd texts | come back as they were |
//! | 15 | fifty instances at once | all are there, nothing to do, nothing left |
//! | 16 | schema | as committed |
//!
//! Abilities that a core or a type does not have are printed as not applicable, with the core and its version.
//! `TF_PROVIDER_STEPS=4,10` takes only those.

mod body;
mod data;
mod life;
mod stage;
mod subject;
mod trouble;
mod world;

use std::fmt;

pub use self::body::Body;
use self::stage::Stage;
pub use self::subject::{Downgrade, Import, Moment, Operation, RoundTrip, Secrets, Subject, Words};
pub use self::world::World;
use super::{Core, Failed};

const CHOSEN: &str = "TF_PROVIDER_STEPS";

/// The steps, in the order of their numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the module's table describes them")]
pub enum ConformanceStep {
    UnknownInputs,
    Create,
    SecondPlan,
    Import,
    Update,
    Replace,
    Unset,
    Drift,
    FailingCalls,
    Interrupt,
    FailingDestroy,
    Secrets,
    OlderStates,
    RoundTrips,
    Many,
    Snapshot,
}

use ConformanceStep as Is;

impl ConformanceStep {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Is::UnknownInputs,
        Is::Create,
        Is::SecondPlan,
        Is::Import,
        Is::Update,
        Is::Replace,
        Is::Unset,
        Is::Drift,
        Is::FailingCalls,
        Is::Interrupt,
        Is::FailingDestroy,
        Is::Secrets,
        Is::OlderStates,
        Is::RoundTrips,
        Is::Many,
        Is::Snapshot,
    ];

    /// Under reattach a core stops nobody, and takes logs from nobody.
    fn needs_a_process(self) -> bool {
        matches!(self, Is::Interrupt | Is::Secrets | Is::Snapshot)
    }

    fn is_chosen(self, chosen: Option<&str>) -> bool {
        let Some(chosen) = chosen else { return true };
        chosen.split(',').any(|number| number.trim() == (self as usize + 1).to_string())
    }
}

impl fmt::Display for ConformanceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({:?})", *self as usize + 1, self)
    }
}

/// Takes all steps with one core; one that fails does not keep the others from being taken.
///
/// # Errors
/// All steps that failed, each with the type, the core and what it printed.
pub async fn run<S: Subject>(core: &Core) -> Result<(), Failed> {
    take_all::<S>(core, &ConformanceStep::ALL).await
}

/// As [`run`], but only these steps.
///
/// # Errors
/// As with [`run`].
pub async fn take_all<S: Subject>(core: &Core, steps: &[ConformanceStep]) -> Result<(), Failed> {
    let chosen = std::env::var(CHOSEN).ok();
    let mut failures: Vec<String> = Vec::new();
    for step in steps.iter().copied().filter(|step| step.is_chosen(chosen.as_deref())) {
        if let Some(reason) = S::not_applicable(step) {
            println!("not applicable: {}, {step}, {core}: {reason}", S::TYPE);
            continue;
        }
        match take::<S>(core, step).await {
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

async fn take<S: Subject>(core: &Core, step: ConformanceStep) -> Result<Vec<String>, Failed> {
    let mut stage = Stage::<S>::begin(core, step).await?;
    match step {
        Is::UnknownInputs => life::unknown_inputs(&mut stage).await,
        Is::Create => life::create(&mut stage).await,
        Is::SecondPlan => life::second_plan(&mut stage).await,
        Is::Import => life::import(&mut stage).await,
        Is::Update => life::update(&mut stage).await,
        Is::Replace => life::replace(&mut stage).await,
        Is::Unset => life::unset(&mut stage).await,
        Is::Drift => life::drift(&mut stage).await,
        Is::FailingCalls => trouble::failing_calls(&mut stage).await,
        Is::Interrupt => trouble::interrupt(&mut stage).await,
        Is::FailingDestroy => trouble::failing_destroy(&mut stage).await,
        Is::Secrets => data::secrets(&mut stage).await,
        Is::OlderStates => data::older_states(&mut stage).await,
        Is::RoundTrips => data::round_trips(&mut stage).await,
        Is::Many => data::many(&mut stage).await,
        Is::Snapshot => data::snapshot(&mut stage).await,
    }?;
    Ok(stage.notes)
}

#[cfg(test)]
mod tests {
    use super::ConformanceStep;

    #[test]
    fn steps_are_chosen_by_number() {
        assert_eq!(ConformanceStep::ALL[9].to_string(), "step 10 (Interrupt)");
        let chosen: Vec<_> = ConformanceStep::ALL.into_iter().filter(|step| step.is_chosen(Some("1, 16"))).collect();
        assert_eq!(chosen, [ConformanceStep::UnknownInputs, ConformanceStep::Snapshot]);
        assert!(ConformanceStep::ALL.into_iter().all(|step| step.is_chosen(None)));
    }
}
