//! Steps 9 to 11: a failing API, an interrupt, a failing destroy.

use std::time::{Duration, Instant};

use super::fixture::{Fixture, has_words};
use super::{Moment, Operation, Subject, Words, World};
use crate::{Failed, Running};

/// Time limit for an operation to pause.
const PAUSE_DEADLINE: Duration = Duration::from_secs(120);
/// Time limit for an interrupted core to end, on a busy machine.
const INTERRUPT_DEADLINE: Duration = Duration::from_secs(30);

/// Step 9: the API fails before, in the middle of, and after a creation, and in a change.
pub(super) async fn failing_calls<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let mut whole = None;
    for point in 0.. {
        let moment = Moment::Undone(point);
        let Some(words) = fixture.subject.break_create(&mut fixture.world, moment).await else { break };
        undone(fixture, words, &mut whole).await.map_err(|failed| failed.within(format_args!("failure {moment:?}")))?;
    }
    let whole = whole.ok_or_else(|| Failed::new("a creation can always fail: support `Moment::Undone(0)`"))?;
    match fixture.subject.break_create(&mut fixture.world, Moment::Middle).await {
        Some(words) => middle(fixture, words, whole).await.map_err(|failed| failed.within("failure Middle"))?,
        None => fixture.note("failure Middle: it cannot happen"),
    }
    match fixture.subject.break_create(&mut fixture.world, Moment::After).await {
        Some(words) => after(fixture, words, whole).await.map_err(|failed| failed.within("failure After"))?,
        None => fixture.note("failure After: it cannot happen"),
    }
    failing_update(fixture).await.map_err(|failed| failed.within("failing update"))
}

/// Asserts that state and world are empty after the failure, and that the next apply creates the object.
async fn undone<S: Subject>(fixture: &mut Fixture<S>, words: Words, whole: &mut Option<usize>) -> Result<(), Failed> {
    let full = fixture.subject.full();
    fixture.fails(&full, words).await?;
    if fixture.stored()?.is_some() {
        return Err(Failed::new("the object does not exist, but is in the state"));
    }
    fixture.is_gone().await?;
    if whole.is_none() {
        fixture.heals(&full, "create").await?;
        *whole = Some(fixture.world.existing().await.len());
        return fixture.end().await;
    }
    fixture.heal().await;
    Ok(())
}

/// Asserts that the incomplete object is tainted, and that the next apply replaces it.
async fn middle<S: Subject>(fixture: &mut Fixture<S>, words: Words, whole: usize) -> Result<(), Failed> {
    let full = fixture.subject.full();
    fixture.fails(&full, words).await?;
    if fixture.stored()?.is_none_or(|stored| !stored.tainted) {
        return Err(Failed::new("the object is incomplete, but not tainted in the state"));
    }
    fixture.is_truthful().await?;
    fixture.heals(&full, "delete+create").await?;
    fixture.exist(whole, "the incomplete object still exists").await?;
    fixture.end().await
}

/// Asserts that the object exists once, whether the provider notices that at once or in the next apply.
async fn after<S: Subject>(fixture: &mut Fixture<S>, words: Words, whole: usize) -> Result<(), Failed> {
    let full = fixture.subject.full();
    fixture.harness.configure(&fixture.configuration(&full))?;
    let finished = fixture.harness.work().try_apply().await?;
    let passed = finished.status.success();
    if !passed {
        has_words(finished, words)?;
    }
    fixture.heal().await;
    let step = fixture.harness.step("next apply", &fixture.configuration(&full)).await?;
    if passed {
        step.plan().is_empty()?;
    }
    step.apply().await?.resource(&Fixture::<S>::address())?;
    fixture.exist(whole, "the object exists twice, or in part").await?;
    fixture.end().await
}

/// Asserts that the existing object is kept, and that the next apply changes it.
async fn failing_update<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let before = fixture.made().await?;
    let Some((body, words)) = fixture.subject.break_update(&mut fixture.world).await else {
        fixture.note("failing update: a change makes no call that can fail");
        return fixture.end().await;
    };
    fixture.fails(&body, words).await?;
    let after = fixture.state()?.resource(&Fixture::<S>::address())?.clone();
    if after.tainted {
        return Err(Failed::new("a failed change tainted the object"));
    }
    for attribute in S::KEPT {
        after.has(attribute, before.attributes[*attribute].clone())?;
    }
    fixture.heals(&body, "update").await?;
    fixture.end().await
}

/// Step 10: an interrupt in the middle of an operation.
pub(super) async fn interrupt<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        let place = |failed: Failed| failed.within(format_args!("interrupted {operation:?}"));
        if operation != Operation::Create {
            fixture.made().await.map_err(place)?;
        }
        let Some((body, words)) = fixture.subject.hold(&mut fixture.world, operation).await else {
            fixture.note(format!("interrupted {operation:?}: it cannot pause"));
            fixture.end().await.map_err(place)?;
            continue;
        };
        let verb = if operation == Operation::Delete { "destroy" } else { "apply" };
        fixture.harness.configure(&fixture.configuration(&body))?;
        let mut core = fixture.harness.work().start(&[verb, "-no-color", "-auto-approve"])?;
        fixture.is_held(&mut core, operation).await.map_err(place)?;
        core.interrupt()?;
        let finished = core.finish_within(INTERRUPT_DEADLINE).await.map_err(place)?;
        let output = finished.text();
        let explain = |failed: Failed| place(failed).with_output(output.clone());
        // The destroy may have finished, without a message about the interrupt.
        if operation == Operation::Delete {
            fixture.heal().await;
            fixture.end().await.map_err(explain)?;
            continue;
        }
        has_words(finished.refused().map_err(place)?, words).map_err(place)?;
        if operation == Operation::Update && fixture.stored()?.is_none_or(|stored| stored.tainted) {
            return Err(explain(Failed::new("an interrupted update lost the resource")));
        }
        fixture.is_truthful().await.map_err(explain)?;
        fixture.heal().await;
        // The next apply goes back to the configuration before the interrupted update.
        let next = if operation == Operation::Update { fixture.subject.full() } else { body };
        let step = fixture.harness.step("next apply", &fixture.configuration(&next)).await.map_err(explain)?;
        step.apply().await.map_err(explain)?.resource(&Fixture::<S>::address())?;
        fixture.end().await.map_err(explain)?;
    }
    Ok(())
}

/// Step 11: an object that could not be destroyed stays in the state.
pub(super) async fn failing_destroy<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let before = fixture.made().await?;
    let words = fixture.subject.break_delete(&mut fixture.world).await;
    let refused = has_words(fixture.harness.work().try_destroy().await?.refused()?, words)?;
    let Some(after) = fixture.stored()? else {
        let problem = "the object was not destroyed, but is no longer in the state";
        return Err(Failed::new(problem).with_output(refused.text()));
    };
    if after.tainted != before.tainted {
        return Err(Failed::new("a failed destroy tainted the object"));
    }
    for attribute in S::KEPT {
        after.has(attribute, before.attributes[*attribute].clone())?;
    }
    fixture.is_truthful().await?;
    fixture.heal().await;
    fixture.end().await
}

impl<S: Subject> Fixture<S> {
    async fn is_held(&mut self, core: &mut Running, operation: Operation) -> Result<(), Failed> {
        let started = Instant::now();
        while !self.subject.is_held(&mut self.world, operation).await {
            if core.has_ended()? {
                return Err(Failed::new("the run ended before it could be interrupted"));
            }
            if started.elapsed() > PAUSE_DEADLINE {
                return Err(Failed::new("the operation did not pause"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}
