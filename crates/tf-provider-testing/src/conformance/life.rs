//! Steps 1 to 8: from the first plan to what happens behind the provider's back.

use std::collections::BTreeSet;

use super::stage::Stage;
use super::{Body, Subject, World};
use crate::harness::same_attributes;
use crate::{Failed, Feature};

/// 1: everything is known only at apply.
pub(super) async fn unknown_inputs<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let (body, object) = stage.subject.full().taken_from("terraform_data.inputs.output");
    let inputs = format!("resource \"terraform_data\" \"inputs\" {{\n  input = {object}\n}}\n");
    let configuration = stage.configuration(&body) + &inputs;
    let step = stage.harness.step("unknown inputs", &configuration).await?;
    step.does(&Stage::<S>::address(), "create")?.apply().await?;
    stage.end().await
}

/// 2: the result is the plan.
pub(super) async fn create<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let full = stage.configuration(&stage.subject.full());
    let step = stage.harness.step("create", &full).await?.does(&Stage::<S>::address(), "create")?;
    step.apply_once().await?.resource(&Stage::<S>::address())?;
    if stage.world.existing().await.is_empty() {
        return Err(Failed::new("it was created, but nothing exists"));
    }
    stage.end().await
}

/// 3: a second plan has nothing to do, with every argument and with none that is optional.
pub(super) async fn second_plan<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    stage.made().await?;
    stage.end().await?;
    stage.make("create with required arguments", &stage.subject.required(), "create").await?;
    stage.end().await
}

/// 4: import into an empty state.
pub(super) async fn import<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let address = Stage::<S>::address();
    let has_identity = stage.has_identity().await?;
    let body = stage.subject.imported();
    let before = stage.make("create", &body, "create").await?;
    let import = stage.subject.import(&before.attributes);
    stage.harness.imports("import by id", &address, &import.id, import.unknowable).await?;
    let then = stage.make("plan after import", &body, import.then).await?;
    for attribute in S::KEPT {
        then.has(attribute, before.attributes[*attribute].clone())?;
    }

    match (import.identity, has_identity) {
        (None, true) => return Err(Failed::new("the schema has an identity; name it in `Subject::import`")),
        (None, false) => stage.note("import by identity: the type has none"),
        (Some(_), _) if !stage.harness.work().core().can(Feature::Identity) => {
            stage.note(Feature::Identity.to_string())
        }
        (Some(identity), _) => {
            stage.harness.work().forget_state()?;
            let block = format!("import {{\n  to = {address}\n  identity = {{ {identity} }}\n}}\n");
            let configuration = stage.configuration(&body) + &block;
            let step = stage.harness.step("import by identity", &configuration).await?.does(&address, import.then)?;
            let state = step.apply().await?;
            same_attributes(&before, state.resource(&address)?, import.unknowable)?;
        }
    }
    stage.end().await
}

/// 5: every argument that may change does, in place.
pub(super) async fn update<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    stage.leaves_out_no_argument().await?;
    let made = stage.made().await?;
    let mut body = stage.subject.full();
    for (argument, value) in stage.subject.updates() {
        body = change(body, argument, value);
        let name = format!("update of {argument}");
        let updated = stage.make(&name, &body, "update").await?;
        for attribute in S::KEPT {
            let kept = updated.has(attribute, made.attributes[*attribute].clone());
            kept.map_err(|failed| failed.within(&name))?;
        }
    }
    stage.end().await
}

/// 6: every argument that needs another resource says so.
pub(super) async fn replace<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    stage.made().await?;
    let mut body = stage.subject.full();
    for (argument, value) in stage.subject.replacements() {
        body = change(body, argument, value);
        let name = format!("replacement by {argument}");
        let step = stage.harness.step(&name, &stage.configuration(&body)).await?;
        step.replaces(&Stage::<S>::address(), argument)?.apply().await?;
    }
    stage.end().await
}

/// A block stays a block.
fn change(body: Body, name: &str, value: String) -> Body {
    if value.starts_with('{') && body.is_block(name) { body.block(name, value) } else { body.set(name, value) }
}

/// 7: what was optional goes again.
pub(super) async fn unset<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let schema = stage.schema().await?;
    stage.made().await?;
    let required = stage.subject.required();
    let step = stage.harness.step("optional arguments removed", &stage.configuration(&required)).await?;
    let state = step.apply().await?;
    let stored = state.resource(&Stage::<S>::address())?;
    let defaults = stage.subject.defaults();
    let kept: BTreeSet<&str> = required.names().collect();
    for (attribute, value) in &defaults {
        stored.has(attribute, value.clone())?;
    }
    let full = stage.subject.full();
    for attribute in full.names().filter(|name| !kept.contains(name)) {
        let declared = &schema["block"]["attributes"][attribute];
        let free = declared.is_object() && declared["computed"] != true;
        if free && !defaults.iter().any(|(known, _)| *known == attribute) {
            stored.has(attribute, serde_json::Value::Null)?;
        }
    }
    stage.end().await
}

/// 8: removed and changed by somebody else.
pub(super) async fn drift<S: Subject>(stage: &mut Stage<S>) -> Result<(), Failed> {
    let address = Stage::<S>::address();
    let made = stage.made().await?;
    stage.subject.remove(&mut stage.world, &made.attributes).await;
    let full = stage.subject.full();
    let again = stage.make("removed behind our back", &full, "create").await?;

    let Some(attribute) = stage.subject.change(&mut stage.world, &again.attributes).await else {
        stage.note("change behind our back: nothing of it can be changed and seen");
        return stage.end().await;
    };
    let step = stage.harness.step("changed behind our back", &stage.configuration(&full)).await?;
    let change = step.plan().change(&address)?;
    if change["before"][attribute] == again.attributes[attribute] {
        return Err(Failed::new(format!("the plan does not show that {attribute} was changed: {change}")));
    }
    if step.plan().actions(&address)? == "no-op" {
        return Err(Failed::new(format!("the changed {attribute} is not repaired")));
    }
    step.apply().await?.resource(&address)?.has(attribute, again.attributes[attribute].clone())?;
    stage.end().await
}

impl<S: Subject> Stage<S> {
    async fn has_identity(&self) -> Result<bool, Failed> {
        self.harness.configure(&self.subject.beside(&self.world))?;
        let schemas = self.harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().cloned().unwrap_or_default();
        Ok(providers.values().any(|provider| provider["resource_identity_schemas"].get(S::TYPE).is_some()))
    }

    /// Each argument of the schema has its change, or a reason for having none.
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
