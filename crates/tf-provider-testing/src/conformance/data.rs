//! Steps 12 to 16: secrets, older states, unusual values, many instances, the schema.

use std::fmt::Write;

use serde_json::Value;

use super::fixture::Fixture;
use super::{Moment, Subject, World};
use crate::{Failed, Feature, schema, search};

/// Step 12: no secret is in state, plan, log or output, or anywhere else that others can read.
pub(super) async fn secrets<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let Some(secrets) = fixture.subject.secrets(&fixture.world) else {
        fixture.note("the type has no secrets");
        return Ok(());
    };
    if !secrets.variables.is_empty() && !fixture.harness.work().core().can(Feature::EphemeralValues) {
        fixture.note(Feature::EphemeralValues.to_string());
        return Ok(());
    }
    let log = fixture.harness.work().path().join("trace.log").display().to_string();
    let work = fixture.harness.work_mut();
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
    let configuration = fixture.configuration(&secrets.body) + &declared;
    let step = fixture.harness.step("with secrets", &configuration).await?;
    let mut printed = step.plan().printed.clone();
    let work = fixture.harness.work();
    printed += &work.apply_planned().await?.succeeded()?.text();
    fixture.state()?.resource(&Fixture::<S>::address())?;
    printed += &work.run(&["plan", "-no-color", "-destroy"]).await?.succeeded()?.text();
    fixture.assert_no_secrets(&printed, &hidden).await?;

    fixture.subject.break_delete(&mut fixture.world).await;
    printed += &fixture.harness.work().try_destroy().await?.refused()?.text();
    fixture.heal().await;
    printed += &fixture.harness.work().destroy().await?.text();
    fixture.is_gone().await?;
    if fixture.fails_to_create().await {
        printed += &fixture.harness.work().try_apply().await?.refused()?.text();
        fixture.heal().await;
    }
    fixture.assert_no_secrets(&printed, &hidden).await?;
    fixture.end().await
}

/// Step 13: states of older schema versions are upgraded.
pub(super) async fn older_states<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let version = fixture.schema().await?["version"].as_i64().unwrap_or(0);
    let older = fixture.subject.older_states();
    let missing: Vec<i64> = (0..version).filter(|version| !older.iter().any(|(known, _)| known == version)).collect();
    if !missing.is_empty() {
        return Err(Failed::new(format!("no state of schema version {missing:?} in `Subject::older_states`")));
    }
    if older.is_empty() {
        fixture.note("the schema has no older version");
        return Ok(());
    }
    fixture.made().await?;
    for (version, downgrade) in older {
        let place = |failed: Failed| failed.within(format_args!("state of version {version}"));
        fixture.harness.work().downgrade_state(S::TYPE, version, downgrade)?;
        fixture.harness.is_settled().await.map_err(place)?;
        // The refresh writes the state with the current version.
        fixture.harness.work().run(&["apply", "-no-color", "-auto-approve", "-refresh-only"]).await?.succeeded()?;
    }
    fixture.end().await
}

/// Step 14: unusual values are stored unchanged.
pub(super) async fn round_trips<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let trips = fixture.subject.round_trips();
    for trip in &trips {
        let name = format!("{} = {}", trip.attribute, trip.expression);
        let body = fixture.subject.full().set(trip.attribute, trip.expression.clone());
        let state = fixture.harness.step(&name, &fixture.configuration(&body)).await?.apply().await?;
        let is = state.resource(&Fixture::<S>::address())?.raw(trip.attribute).unwrap_or("absent").to_owned();
        if !is_the_same(&is, &trip.stored) {
            return Err(Failed::new(format!("{name}: the state has {is}, expected {}", trip.stored)));
        }
    }
    fixture.end().await
}

/// Returns true if the JSON texts are equal. Numbers are compared by every digit, everything else by value.
fn is_the_same(is: &str, expected: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    is == expected || value(is).is_some_and(|is| !is.is_number() && Some(is) == value(expected))
}

/// Step 15: many instances at once.
pub(super) async fn many<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let count = S::INSTANCES;
    let body = fixture.subject.numbered().render();
    let block = format!("resource \"{}\" \"it\" {{\n  count = {count}\n{body}}}\n", S::TYPE);
    fixture.harness.configure(&fixture.with_block(&block))?;
    let parallel = format!("-parallelism={count}");
    let work = fixture.harness.work();
    work.run(&["apply", "-no-color", "-auto-approve", &parallel]).await?.succeeded()?;
    let made = work.stored()?.resources().iter().filter(|made| made.address.starts_with(S::TYPE)).count();
    if made != count {
        return Err(Failed::new(format!("the state has {made} instances, expected {count}")));
    }
    work.plan_with(&[&parallel]).await?.is_empty()?;
    let existing = fixture.world.existing().await.len();
    if existing < count {
        return Err(Failed::new(format!("{existing} objects exist for {count} instances")));
    }
    fixture.harness.work().run(&["destroy", "-no-color", "-auto-approve", &parallel]).await?.succeeded()?;
    fixture.is_gone().await
}

/// Step 16: the schema is the committed one.
pub(super) async fn snapshot<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    fixture.harness.configure(&fixture.subject.other_blocks(&fixture.world))?;
    schema::matches_snapshot(&fixture.harness, &S::World::snapshot()).await
}

impl<S: Subject> Fixture<S> {
    /// Makes the next creation fail, as late as possible. Returns false if it cannot fail.
    async fn fails_to_create(&mut self) -> bool {
        for moment in [Moment::Middle, Moment::Undone(0)] {
            if self.subject.break_create(&mut self.world, moment).await.is_some() {
                return true;
            }
        }
        false
    }

    async fn assert_no_secrets(&mut self, printed: &str, secrets: &[&str]) -> Result<(), Failed> {
        let mut searched = search::collect(self.harness.work().path(), printed)?;
        for needed in ["plan.bin: tfplan", "trace.log", "terraform.tfstate"] {
            if !searched.keys().any(|name| name.ends_with(needed)) {
                return Err(Failed::new(format!("{needed} must be searched, but does not exist")));
            }
        }
        searched.extend(self.world.readable().await);
        search::assert_no_secrets(&searched, secrets)
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
