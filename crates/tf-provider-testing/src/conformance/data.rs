//! Steps 12 to 16: secrets, older states, odd values, many at once, the schema.

use std::fmt::Write;

use serde_json::Value;

use super::stage::Stage;
use super::{Moment, Subject, World};
use crate::{Failed, Feature, schema, search};

/// 12: no secret in state, plan, log or output, nor anywhere else that others can read.
pub(super) async fn secrets<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let Some(secrets) = stage.subject.secrets(&stage.world) else {
        stage.note("it has no secrets");
        return Ok(());
    };
    if !secrets.variables.is_empty() && !stage.harness.work().core().can(Feature::EphemeralValues) {
        stage.note(Feature::EphemeralValues.to_string());
        return Ok(());
    }
    let log = stage.harness.work().path().join("trace.log").display().to_string();
    let work = stage.harness.work_mut();
    work.set("TF_LOG", "TRACE");
    work.set("TF_LOG_PATH", &log);
    let mut declared = String::new();
    for (name, value) in &secrets.variables {
        work.set(&format!("TF_VAR_{name}"), value);
        let _infallible = writeln!(
            declared,
            "variable \"{name}\" {{\n  type      = string\n  sensitive = true\n  ephemeral = true\n}}"
        );
    }
    let hidden: Vec<&str> =
        secrets.variables.iter().map(|(_, value)| value).chain(&secrets.others).map(String::as_str).collect();
    let configuration = stage.configuration(&secrets.body) + &declared;
    let step = stage.harness.step("with secrets", &configuration).await?;
    let mut printed = step.plan().printed.clone();
    let work = stage.harness.work();
    printed += &work.apply_planned().await?.succeeded()?.text();
    stage.state()?.resource(&Stage::<S>::address())?;
    printed += &work.run(&["plan", "-no-color", "-destroy"]).await?.succeeded()?.text();
    stage.shows_none(&printed, &hidden).await?;

    stage.subject.break_delete(&mut stage.world).await;
    printed += &stage.harness.work().try_destroy().await?.refused()?.text();
    stage.heal().await;
    printed += &stage.harness.work().destroy().await?.text();
    stage.is_gone().await?;
    if stage.fails_to_create().await {
        printed += &stage.harness.work().try_apply().await?.refused()?.text();
        stage.heal().await;
    }
    stage.shows_none(&printed, &hidden).await?;
    stage.end().await
}

/// 13: states of older schema versions.
pub(super) async fn older_states<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let version = stage.schema().await?["version"].as_i64().unwrap_or(0);
    let older = stage.subject.older_states();
    let missing: Vec<i64> = (0..version).filter(|version| !older.iter().any(|(known, _)| known == version)).collect();
    if !missing.is_empty() {
        return Err(Failed::new(format!("no state of schema version {missing:?} in `Subject::older_states`")));
    }
    if older.is_empty() {
        stage.note("no older version of the schema exists");
        return Ok(());
    }
    stage.made().await?;
    for (version, downgrade) in older {
        let place = |failed: Failed| failed.within(format_args!("state of version {version}"));
        stage.harness.work().age_state(S::TYPE, version, downgrade)?;
        stage.harness.is_settled().await.map_err(place)?;
        // Whatever is written next has the version of today.
        stage.harness.work().run(&["apply", "-no-color", "-auto-approve", "-refresh-only"]).await?.succeeded()?;
    }
    stage.end().await
}

/// 14: odd values come back as they were.
pub(super) async fn round_trips<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let trips = stage.subject.round_trips();
    for trip in &trips {
        let name = format!("{} = {}", trip.attribute, trip.expression);
        let body = stage.subject.full().set(trip.attribute, trip.expression.clone());
        let state = stage.harness.step(&name, &stage.configuration(&body)).await?.apply().await?;
        let is = state.resource(&Stage::<S>::address())?.raw(trip.attribute).unwrap_or("absent").to_owned();
        if !is_the_same(&is, &trip.stored) {
            return Err(Failed::new(format!("{name}: the state holds {is}, expected {}", trip.stored)));
        }
    }
    stage.end().await
}

/// Numbers by every digit, everything else by value.
fn is_the_same(is: &str, expected: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    is == expected || value(is).is_some_and(|is| !is.is_number() && Some(is) == value(expected))
}

/// 15: many at once.
pub(super) async fn many<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let count = S::INSTANCES;
    let body = stage.subject.numbered().render();
    let block = format!("resource \"{}\" \"it\" {{\n  count = {count}\n{body}}}\n", S::TYPE);
    stage.harness.configure(&stage.with_block(&block))?;
    let parallel = format!("-parallelism={count}");
    let work = stage.harness.work();
    work.run(&["apply", "-no-color", "-auto-approve", &parallel]).await?.succeeded()?;
    let made = work.stored()?.resources().iter().filter(|made| made.address.starts_with(S::TYPE)).count();
    if made != count {
        return Err(Failed::new(format!("the state has {made} instances, expected {count}")));
    }
    work.plan_with(&[&parallel]).await?.is_empty()?;
    let existing = stage.world.existing().await.len();
    if existing < count {
        return Err(Failed::new(format!("{existing} things exist for {count} instances")));
    }
    stage.harness.work().run(&["destroy", "-no-color", "-auto-approve", &parallel]).await?.succeeded()?;
    stage.is_gone().await
}

/// 16: the schema is the committed one.
pub(super) async fn snapshot<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    stage.harness.configure(&stage.subject.beside(&stage.world))?;
    schema::matches_snapshot(&stage.harness, &S::World::snapshot()).await
}

impl<S: Subject> Stage<S> {
    /// Lets the next creation fail, as far along as it can.
    async fn fails_to_create(&mut self) -> bool {
        for moment in [Moment::Middle, Moment::Undone(0)] {
            if self.subject.break_create(&mut self.world, moment).await.is_some() {
                return true;
            }
        }
        false
    }

    async fn shows_none(&mut self, printed: &str, secrets: &[&str]) -> Result<(), Failed> {
        let mut searched = search::everything(self.harness.work().path(), printed)?;
        for needed in ["plan.bin: tfplan", "trace.log", "terraform.tfstate"] {
            if !searched.keys().any(|name| name.ends_with(needed)) {
                return Err(Failed::new(format!("{needed} was to be searched, but is not there")));
            }
        }
        searched.extend(self.world.readable().await);
        search::shows_none(&searched, secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::is_the_same;

    #[test]
    fn numbers_are_compared_by_digits() {
        assert!(is_the_same("[ 1,\n 2 ]", "[1,2]") && is_the_same("9007199254740993", "9007199254740993"));
        assert!(!is_the_same("9007199254740992", "9007199254740993") && !is_the_same("\"\"", "null"));
    }
}
