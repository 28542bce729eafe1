//! Steps 9 to 11: an API that fails, an interrupt, a destruction that fails.

use std::time::{Duration, Instant};

use super::stage::Stage;
use super::{Body, Moment, Operation, Subject};
use crate::testing::{Failed, Running};

/// How long an operation may take until it stands still.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an interrupted core may take, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// 9: the API fails before, within, and after a creation.
pub(super) async fn failing_create<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let full = stage.subject.full();
    for moment in [Moment::Before, Moment::Middle, Moment::After] {
        let place = |failed: Failed| failed.within(format_args!("failure {moment:?}"));
        if !stage.subject.break_create(moment).await {
            stage.note(format!("failure {moment:?}: it cannot happen"));
            continue;
        }
        stage.harness.configure(&stage.configuration(&full))?;
        let finished = stage.harness.work().try_apply().await?;
        if moment != Moment::After {
            finished.refused().map_err(place)?;
        }
        let stored = stage.stored()?;
        if moment == Moment::Before && stored.is_some() {
            return Err(place(Failed::new("nothing was made, but it is in the state")));
        }
        if moment == Moment::Middle && stored.is_some_and(|stored| !stored.tainted) {
            return Err(place(Failed::new("it is not whole, but not tainted in the state")));
        }
        if moment != Moment::After {
            stage.is_truthful().await.map_err(place)?;
        }
        stage.subject.heal().await;
        stage.heals(&full).await.map_err(place)?;
        stage.end().await.map_err(place)?;
    }
    Ok(())
}

/// 10: Ctrl-C in the middle.
pub(super) async fn interrupt<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    for operation in [Operation::Create, Operation::Update, Operation::Delete] {
        let place = |failed: Failed| failed.within(format_args!("interrupted {operation:?}"));
        if operation != Operation::Create {
            stage.made().await.map_err(place)?;
        }
        let Some(body) = stage.subject.hold(operation).await else {
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
        if operation == Operation::Update && stage.stored()?.is_none_or(|stored| stored.tainted) {
            return Err(explain(Failed::new("an update that was cut short lost the resource")));
        }
        // A destruction may have come to its end without having been able to say so.
        if operation == Operation::Delete {
            stage.subject.heal().await;
            stage.end().await.map_err(explain)?;
            continue;
        }
        stage.is_truthful().await.map_err(explain)?;
        stage.subject.heal().await;
        stage.heals(&body).await.map_err(explain)?;
        stage.end().await.map_err(explain)?;
    }
    Ok(())
}

/// 11: what could not be destroyed stays in the state.
pub(super) async fn failing_destroy<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let before = stage.made().await?;
    stage.subject.break_delete().await;
    let refused = stage.harness.work().try_destroy().await?.refused()?;
    let after = stage.stored()?;
    let Some(after) = after else {
        return Err(Failed::new("it was not destroyed, but is in the state no more").with_output(refused.text()));
    };
    if after.tainted != before.tainted {
        return Err(Failed::new("a destruction that failed tainted it"));
    }
    stage.is_truthful().await?;
    stage.subject.heal().await;
    stage.end().await
}

impl<S: Subject> Stage<S> {
    /// The next apply ends well, with nothing left to do.
    async fn heals(&self, body: &Body) -> Result<(), Failed> {
        let step = self.harness.step("next apply", &self.configuration(body)).await?;
        step.apply().await?.resource(&Self::address()).map(|_| ())
    }

    async fn is_held(&mut self, core: &mut Running, operation: Operation) -> Result<(), Failed> {
        let begun = Instant::now();
        while !self.subject.is_held(operation).await {
            if core.has_ended()? {
                return Err(Failed::new("it ended before it could be interrupted"));
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failed::new("it never came to the point where it is interrupted"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}
