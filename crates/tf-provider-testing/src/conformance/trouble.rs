//! Steps 9 to 11: an API that fails, an interrupt, a destruction that fails.

use std::time::{Duration, Instant};

use super::stage::{Stage, said};
use super::{Moment, Operation, Subject, Words, World};
use crate::{Failed, Running};

/// How long an operation may take until it stands still.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long an interrupted core may take, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// 9: the API fails before, within, and after a creation, and within a change.
pub(super) async fn failing_calls<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let mut whole = None;
    for point in 0.. {
        let moment = Moment::Undone(point);
        let Some(words) = stage.subject.break_create(&mut stage.world, moment).await else { break };
        undone(stage, words, &mut whole).await.map_err(|failed| failed.within(format_args!("failure {moment:?}")))?;
    }
    let whole = whole.ok_or_else(|| Failed::new("a creation can always fail: name the first point, `Undone(0)`"))?;
    match stage.subject.break_create(&mut stage.world, Moment::Middle).await {
        Some(words) => middle(stage, words, whole).await.map_err(|failed| failed.within("failure Middle"))?,
        None => stage.note("failure Middle: it cannot happen"),
    }
    match stage.subject.break_create(&mut stage.world, Moment::After).await {
        Some(words) => after(stage, words, whole).await.map_err(|failed| failed.within("failure After"))?,
        None => stage.note("failure After: it cannot happen"),
    }
    failing_update(stage).await.map_err(|failed| failed.within("failing update"))
}

/// Nothing is in the state, nothing exists; the next apply makes it.
async fn undone<S: Subject>(stage: &mut Stage<S>, words: Words, whole: &mut Option<usize>) -> Result<(), Failed> {
    let full = stage.subject.full();
    stage.fails(&full, words).await?;
    if stage.stored()?.is_some() {
        return Err(Failed::new("nothing is left of it, but it is in the state"));
    }
    stage.is_gone().await?;
    if whole.is_none() {
        stage.heals(&full, "create").await?;
        *whole = Some(stage.world.existing().await.len());
        return stage.end().await;
    }
    stage.heal().await;
    Ok(())
}

/// The existing object is tainted, replaced by the next apply, and then gone.
async fn middle<S: Subject>(stage: &mut Stage<S>, words: Words, whole: usize) -> Result<(), Failed> {
    let full = stage.subject.full();
    stage.fails(&full, words).await?;
    if stage.stored()?.is_none_or(|stored| !stored.tainted) {
        return Err(Failed::new("it is not whole, but not tainted in the state"));
    }
    stage.is_truthful().await?;
    stage.heals(&full, "delete+create").await?;
    stage.exist(whole, "what was not whole is still there").await?;
    stage.end().await
}

/// Whether it is noticed at once or with the next apply: it exists once.
async fn after<S: Subject>(stage: &mut Stage<S>, words: Words, whole: usize) -> Result<(), Failed> {
    let full = stage.subject.full();
    stage.harness.configure(&stage.configuration(&full))?;
    let finished = stage.harness.work().try_apply().await?;
    let passed = finished.status.success();
    if !passed {
        said(finished, words)?;
    }
    stage.heal().await;
    let step = stage.harness.step("next apply", &stage.configuration(&full)).await?;
    if passed {
        step.plan().is_empty()?;
    }
    step.apply().await?.resource(&Stage::<S>::address())?;
    stage.exist(whole, "it is there twice, or in parts").await?;
    stage.end().await
}

/// The existing object is kept, and changed by the next apply.
async fn failing_update<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let before = stage.made().await?;
    let Some((body, words)) = stage.subject.break_update(&mut stage.world).await else {
        stage.note("failing update: it makes no call that could fail");
        return stage.end().await;
    };
    stage.fails(&body, words).await?;
    let after = stage.state()?.resource(&Stage::<S>::address())?.clone();
    if after.tainted {
        return Err(Failed::new("a change that failed tainted it"));
    }
    for attribute in S::KEPT {
        after.has(attribute, before.attributes[*attribute].clone())?;
    }
    stage.heals(&body, "update").await?;
    stage.end().await
}

/// 10: Ctrl-C in the middle.
pub(super) async fn interrupt<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        let place = |failed: Failed| failed.within(format_args!("interrupted {operation:?}"));
        if operation != Operation::Create {
            stage.made().await.map_err(place)?;
        }
        let Some((body, words)) = stage.subject.hold(&mut stage.world, operation).await else {
            stage.note(format!("interrupted {operation:?}: it is done at once"));
            stage.end().await.map_err(place)?;
            continue;
        };
        let verb = if operation == Operation::Delete { "destroy" } else { "apply" };
        stage.harness.configure(&stage.configuration(&body))?;
        let mut core = stage.harness.work().start(&[verb, "-no-color", "-auto-approve"])?;
        stage.is_held(&mut core, operation).await.map_err(place)?;
        core.interrupt()?;
        let finished = core.finish_within(SOON).await.map_err(place)?;
        let output = finished.text();
        let explain = |failed: Failed| place(failed).with_output(output.clone());
        // A destruction may have come to its end without having been able to say so.
        if operation == Operation::Delete {
            stage.heal().await;
            stage.end().await.map_err(explain)?;
            continue;
        }
        said(finished.refused().map_err(place)?, words).map_err(place)?;
        if operation == Operation::Update && stage.stored()?.is_none_or(|stored| stored.tainted) {
            return Err(explain(Failed::new("an update that was cut short lost the resource")));
        }
        stage.is_truthful().await.map_err(explain)?;
        stage.heal().await;
        // A failing update is tried again; one that was cut short is given up.
        let next = if operation == Operation::Update { stage.subject.full() } else { body };
        let step = stage.harness.step("next apply", &stage.configuration(&next)).await.map_err(explain)?;
        step.apply().await.map_err(explain)?.resource(&Stage::<S>::address())?;
        stage.end().await.map_err(explain)?;
    }
    Ok(())
}

/// 11: what could not be destroyed stays in the state.
pub(super) async fn failing_destroy<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let before = stage.made().await?;
    let words = stage.subject.break_delete(&mut stage.world).await;
    let refused = said(stage.harness.work().try_destroy().await?.refused()?, words)?;
    let Some(after) = stage.stored()? else {
        return Err(Failed::new("it was not destroyed, but is in the state no more").with_output(refused.text()));
    };
    if after.tainted != before.tainted {
        return Err(Failed::new("a destruction that failed tainted it"));
    }
    for attribute in S::KEPT {
        after.has(attribute, before.attributes[*attribute].clone())?;
    }
    stage.is_truthful().await?;
    stage.heal().await;
    stage.end().await
}

impl<S: Subject> Stage<S> {
    async fn is_held(&mut self, core: &mut Running, operation: Operation) -> Result<(), Failed> {
        let started = Instant::now();
        while !self.subject.is_held(&mut self.world, operation).await {
            if core.has_ended()? {
                return Err(Failed::new("it ended before it could be interrupted"));
            }
            if started.elapsed() > DEADLINE {
                return Err(Failed::new("it never came to the point where it is interrupted"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}
