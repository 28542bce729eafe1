//! A fresh world with a working directory, for one step of one type.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Body, ConformanceStep, Subject, Words, World};
use crate::{Core, Failed, Finished, Harness, State, Stored};

/// Time that a world may need to clean up after the provider has answered.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Stage<S: Subject> {
    pub(super) subject: S,
    pub(super) world: S::World,
    pub(super) harness: Harness,
    pub(super) notes: Vec<String>,
}

impl<S: Subject> Stage<S> {
    /// For steps whose very point is the process or TLS, the core starts the provider as it does for users. For others it
    /// is served once, which takes a fraction of the time.
    pub(super) async fn begin(core: &Core, step: ConformanceStep) -> Result<Self, Failed> {
        let (source, program) = (S::World::SOURCE, S::World::program());
        let by_the_core = step.needs_a_process();
        let in_process = if by_the_core { None } else { S::World::in_process() };
        let is_served = in_process.is_some();
        let mut harness = match in_process {
            Some(served) => {
                let served = served.map_err(|error| Failed::new(format!("serving the provider: {error}")))?;
                Harness::attached(core, source, served)?
            }
            None if by_the_core => Harness::program(core, source, &program)?,
            None => Harness::bare(core, source)?,
        };
        let mut world = S::World::begin(&mut harness).await?;
        let subject = S::begin(&mut world, &mut harness).await?;
        if !by_the_core && !is_served {
            harness.serve(&program).await?;
        }
        Ok(Self { subject, world, harness, notes: Vec::new() })
    }

    /// Address of the resource.
    pub(super) fn address() -> String {
        format!("{}.it", S::TYPE)
    }

    /// The whole configuration with that resource.
    pub(super) fn configuration(&self, body: &Body) -> String {
        self.with_block(&format!("resource \"{}\" \"it\" {{\n{}}}\n", S::TYPE, body.render()))
    }

    pub(super) fn with_block(&self, block: &str) -> String {
        format!("{}\n{block}", self.subject.beside(&self.world))
    }

    /// Plans, asserts the actions, applies, asserts that nothing is left to do.
    pub(super) async fn make(&self, name: &str, body: &Body, actions: &str) -> Result<Stored, Failed> {
        let step = self.harness.step(name, &self.configuration(body)).await?;
        let state = step.does(&Self::address(), actions)?.apply().await?;
        state.resource(&Self::address()).cloned()
    }

    /// The full resource, made and settled.
    pub(super) async fn made(&self) -> Result<Stored, Failed> {
        self.make("create", &self.subject.full(), "create").await
    }

    /// The next apply ends well with these actions, and leaves nothing to do.
    pub(super) async fn heals(&mut self, body: &Body, actions: &str) -> Result<(), Failed> {
        self.heal().await;
        self.make("next apply", body, actions).await.map(drop)
    }

    /// Everything works again.
    pub(super) async fn heal(&mut self) {
        self.subject.heal().await;
        self.world.heal().await;
    }

    /// Applies that resource, which must fail and say so.
    pub(super) async fn fails(&self, body: &Body, words: Words) -> Result<Finished, Failed> {
        self.harness.configure(&self.configuration(body))?;
        said(self.harness.work().try_apply().await?.refused()?, words)
    }

    pub(super) fn state(&self) -> Result<State, Failed> {
        self.harness.work().stored()
    }

    pub(super) fn stored(&self) -> Result<Option<Stored>, Failed> {
        Ok(self.state()?.find(&Self::address()).cloned())
    }

    /// Checks that the state agrees with what exists: nothing for nothing, something for something.
    pub(super) async fn is_truthful(&mut self) -> Result<(), Failed> {
        let Some(stored) = self.stored()? else { return self.is_gone().await };
        let existing = self.world.existing().await;
        if existing.is_empty() {
            return Err(Failed::new(format!("the state has {}, but nothing exists", stored.address)));
        }
        Ok(())
    }

    /// Nothing exists, sooner or later.
    pub(super) async fn is_gone(&mut self) -> Result<(), Failed> {
        self.exist(0, "left behind, and not in the state").await
    }

    /// Waits until this many objects exist.
    pub(super) async fn exist(&mut self, count: usize, problem: &str) -> Result<(), Failed> {
        let started = Instant::now();
        loop {
            let existing = self.world.existing().await;
            if existing.len() == count {
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                return Err(Failed::new(format!("{problem}: {existing:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Destroys everything, after which nothing exists.
    pub(super) async fn end(&mut self) -> Result<(), Failed> {
        self.harness.destroys("destroy").await?;
        self.is_gone().await
    }

    /// The type's schema, as the core shows it.
    pub(super) async fn schema(&self) -> Result<Value, Failed> {
        self.harness.configure(&self.subject.beside(&self.world))?;
        let schemas = self.harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().cloned().unwrap_or_default();
        let found = providers.values().find_map(|provider| provider["resource_schemas"].get(S::TYPE)).cloned();
        found.ok_or_else(|| Failed::new(format!("the provider's schema has no {}", S::TYPE)))
    }

    pub(super) fn note(&mut self, reason: impl Into<String>) {
        self.notes.push(reason.into());
    }
}

/// A run that says all the words.
pub(super) fn said(finished: Finished, words: Words) -> Result<Finished, Failed> {
    let text = finished.flat();
    match words.iter().find(|word| !text.contains(**word)) {
        None => Ok(finished),
        Some(word) => Err(Failed::new(format!("it does not say \"{word}\"")).with_output(finished.text())),
    }
}
