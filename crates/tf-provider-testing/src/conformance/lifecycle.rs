//! Steps 1 to 8: from the first plan to changes outside of the provider.

use std::collections::BTreeSet;

use super::fixture::Fixture;
use super::{Body, Subject, World};
use crate::harness::same_attributes;
use crate::{Failed, Feature};

/// Step 1: all inputs are unknown until apply.
pub(super) async fn unknown_inputs<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let (body, object) = fixture.subject.full().taken_from("terraform_data.inputs.output");
    let inputs = format!("resource \"terraform_data\" \"inputs\" {{\n  input = {object}\n}}\n");
    let configuration = fixture.configuration(&body) + &inputs;
    let step = fixture.harness.step("unknown inputs", &configuration).await?;
    step.does(&Fixture::<S>::address(), "create")?.apply().await?;
    fixture.end().await
}

/// Step 2: the result of a create matches the plan.
pub(super) async fn create<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let full = fixture.configuration(&fixture.subject.full());
    let step = fixture.harness.step("create", &full).await?.does(&Fixture::<S>::address(), "create")?;
    step.apply_once().await?.resource(&Fixture::<S>::address())?;
    if fixture.world.existing().await.is_empty() {
        return Err(Failed::new("the resource was created, but nothing exists"));
    }
    fixture.end().await
}

/// Step 3: a second plan is empty, with all arguments and with the required ones.
pub(super) async fn second_plan<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    fixture.made().await?;
    fixture.end().await?;
    fixture.make("create with required arguments", &fixture.subject.required(), "create").await?;
    fixture.end().await
}

/// Step 4: import into an empty state.
pub(super) async fn import<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let address = Fixture::<S>::address();
    let has_identity = fixture.has_identity().await?;
    let body = fixture.subject.imported();
    let before = fixture.make("create", &body, "create").await?;
    let import = fixture.subject.import(&before.attributes);
    fixture.harness.imports("import by id", &address, &import.id, import.unknowable).await?;
    let then = fixture.make("plan after import", &body, import.then).await?;
    for attribute in S::KEPT {
        then.has(attribute, before.attributes[*attribute].clone())?;
    }

    match (import.identity, has_identity) {
        (None, true) => return Err(Failed::new("the schema has an identity: return it from `Subject::import`")),
        (None, false) => fixture.note("import by identity: the type has no identity"),
        (Some(_), _) if !fixture.harness.work().core().can(Feature::Identity) => {
            fixture.note(Feature::Identity.to_string())
        }
        (Some(identity), _) => {
            fixture.harness.work().forget_state()?;
            let block = format!("import {{\n  to = {address}\n  identity = {{ {identity} }}\n}}\n");
            let configuration = fixture.configuration(&body) + &block;
            let step = fixture.harness.step("import by identity", &configuration).await?.does(&address, import.then)?;
            let state = step.apply().await?;
            same_attributes(&before, state.resource(&address)?, import.unknowable)?;
        }
    }
    fixture.end().await
}

/// Step 5: each updatable argument is changed in place.
pub(super) async fn update<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    fixture.leaves_out_no_argument().await?;
    let made = fixture.made().await?;
    let mut body = fixture.subject.full();
    for (argument, value) in fixture.subject.updates() {
        body = change(body, argument, value);
        let name = format!("update of {argument}");
        let updated = fixture.make(&name, &body, "update").await?;
        for attribute in S::KEPT {
            let kept = updated.has(attribute, made.attributes[*attribute].clone());
            kept.map_err(|failed| failed.within(&name))?;
        }
    }
    fixture.end().await
}

/// Step 6: each other argument leads to a replacement.
pub(super) async fn replace<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    fixture.made().await?;
    let mut body = fixture.subject.full();
    for (argument, value) in fixture.subject.replacements() {
        body = change(body, argument, value);
        let name = format!("replacement by {argument}");
        let step = fixture.harness.step(&name, &fixture.configuration(&body)).await?;
        step.replaces(&Fixture::<S>::address(), argument)?.apply().await?;
    }
    fixture.end().await
}

/// Changes an argument or block. A block stays a block.
fn change(body: Body, name: &str, value: String) -> Body {
    if value.starts_with('{') && body.is_block(name) { body.block(name, value) } else { body.set(name, value) }
}

/// Step 7: optional arguments are removed.
pub(super) async fn unset<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let schema = fixture.schema().await?;
    fixture.made().await?;
    let required = fixture.subject.required();
    let step = fixture.harness.step("optional arguments removed", &fixture.configuration(&required)).await?;
    let state = step.apply().await?;
    let stored = state.resource(&Fixture::<S>::address())?;
    let defaults = fixture.subject.defaults();
    let kept: BTreeSet<&str> = required.names().collect();
    for (attribute, value) in &defaults {
        stored.has(attribute, value.clone())?;
    }
    let full = fixture.subject.full();
    for attribute in full.names().filter(|name| !kept.contains(name)) {
        let declared = &schema["block"]["attributes"][attribute];
        let free = declared.is_object() && declared["computed"] != true;
        if free && !defaults.iter().any(|(known, _)| *known == attribute) {
            stored.has(attribute, serde_json::Value::Null)?;
        }
    }
    fixture.end().await
}

/// Step 8: the object is removed and changed outside of the provider.
pub(super) async fn drift<S: Subject>(fixture: &mut Fixture<S>) -> Result<(), Failed> {
    let address = Fixture::<S>::address();
    let made = fixture.made().await?;
    fixture.subject.remove(&mut fixture.world, &made.attributes).await;
    let full = fixture.subject.full();
    let again = fixture.make("removed outside of the provider", &full, "create").await?;

    let Some(attribute) = fixture.subject.change(&mut fixture.world, &again.attributes).await else {
        fixture.note("change outside of the provider: no change would be visible");
        return fixture.end().await;
    };
    let step = fixture.harness.step("changed outside of the provider", &fixture.configuration(&full)).await?;
    let change = step.plan().change(&address)?;
    if change["before"][attribute] == again.attributes[attribute] {
        return Err(Failed::new(format!("the plan does not show that {attribute} was changed: {change}")));
    }
    if step.plan().actions(&address)? == "no-op" {
        return Err(Failed::new(format!("the changed {attribute} is not repaired")));
    }
    step.apply().await?.resource(&address)?.has(attribute, again.attributes[attribute].clone())?;
    fixture.end().await
}

impl<S: Subject> Fixture<S> {
    async fn has_identity(&self) -> Result<bool, Failed> {
        self.harness.configure(&self.subject.other_blocks(&self.world))?;
        let schemas = self.harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().cloned().unwrap_or_default();
        Ok(providers.values().any(|provider| provider["resource_identity_schemas"].get(S::TYPE).is_some()))
    }

    /// Checks that the subject names a change for each argument of the schema, or a reason for having none.
    async fn leaves_out_no_argument(&self) -> Result<(), Failed> {
        let schema = self.schema().await?;
        let mut known: BTreeSet<&str> = self.subject.updates().iter().map(|(name, _)| *name).collect();
        known.extend(self.subject.replacements().iter().map(|(name, _)| *name));
        known.extend(self.subject.exempt().iter().map(|(name, _)| *name));
        let known: BTreeSet<&str> = known.into_iter().filter_map(|name| name.split(' ').next()).collect();
        let (attributes, blocks) = (&schema["block"]["attributes"], &schema["block"]["block_types"]);
        let attributes = attributes.as_object().into_iter().flatten().filter(|(_, attribute)| {
            (attribute["optional"] == true || attribute["required"] == true) && attribute["write_only"] != true
        });
        let arguments = attributes.chain(blocks.as_object().into_iter().flatten()).map(|(name, _)| name.as_str());
        let forgotten: Vec<&str> = arguments.filter(|name| !known.contains(name)).collect();
        if forgotten.is_empty() {
            return Ok(());
        }
        Err(Failed::new(format!("arguments without a change in `updates`, `replacements` or `exempt`: {forgotten:?}")))
    }
}
