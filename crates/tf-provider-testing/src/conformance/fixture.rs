//! The fixture of a step: a new world and a working directory.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Body, ConformanceStep, Subject, Words, World};
use crate::{Core, Failed, Finished, Harness, State, StoredResource};

/// Time limit for a world to clean up after the provider has answered.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Fixture<S: Subject> {
    pub(super) subject: S,
    pub(super) world: S::World,
    pub(super) harness: Harness,
    pub(super) notes: Vec<String>,
}

impl<S: Subject> Fixture<S> {
    /// Prepares a step. For steps that test the process or TLS, the core starts the provider as it does for users. For
    /// others the provider is served once, which takes a fraction of the time.
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

    /// Returns the address of the resource.
    pub(super) fn address() -> String {
        format!("{}.it", S::TYPE)
    }

    /// Returns the whole configuration with the resource.
    pub(super) fn configuration(&self, body: &Body) -> String {
        self.with_block(&format!("resource \"{}\" \"it\" {{\n{}}}\n", S::TYPE, body.render()))
    }

    pub(super) fn with_block(&self, block: &str) -> String {
        format!("{}\n{block}", self.subject.other_blocks(&self.world))
    }

    /// Plans, asserts the actions, applies, and asserts that further plans are empty.
    pub(super) async fn make(&self, name: &str, body: &Body, actions: &str) -> Result<StoredResource, Failed> {
        let step = self.harness.step(name, &self.configuration(body)).await?;
        let state = step.does(&Self::address(), actions)?.apply().await?;
        state.resource(&Self::address()).cloned()
    }

    /// Creates the full resource.
    pub(super) async fn made(&self) -> Result<StoredResource, Failed> {
        self.make("create", &self.subject.full(), "create").await
    }

    /// Removes the faults, and asserts that the next apply succeeds with these actions and that further plans are
    /// empty.
    pub(super) async fn heals(&mut self, body: &Body, actions: &str) -> Result<(), Failed> {
        self.heal().await;
        self.make("next apply", body, actions).await.map(drop)
    }

    /// Removes the faults.
    pub(super) async fn heal(&mut self) {
        self.subject.heal().await;
        self.world.heal().await;
    }

    /// Asserts that applying a resource fails with these words.
    pub(super) async fn fails(&self, body: &Body, words: Words) -> Result<Finished, Failed> {
        self.harness.configure(&self.configuration(body))?;
        has_words(self.harness.work().try_apply().await?.refused()?, words)
    }

    pub(super) fn state(&self) -> Result<State, Failed> {
        self.harness.work().stored()
    }

    pub(super) fn stored(&self) -> Result<Option<StoredResource>, Failed> {
        Ok(self.state()?.find(&Self::address()).cloned())
    }

    /// Asserts that the state has the resource exactly if something exists.
    pub(super) async fn is_truthful(&mut self) -> Result<(), Failed> {
        let Some(stored) = self.stored()? else { return self.is_gone().await };
        let existing = self.world.existing().await;
        if existing.is_empty() {
            return Err(Failed::new(format!("the state has {}, but nothing exists", stored.address)));
        }
        Ok(())
    }

    /// Waits until nothing exists.
    pub(super) async fn is_gone(&mut self) -> Result<(), Failed> {
        self.exist(0, "exists, but is not in the state").await
    }

    /// Waits until this many objects exist.
    pub(super) async fn exist(&mut self, count: usize, problem: &str) -> Result<(), Failed> {
        let started = Instant::now();
        loop {
            let existing = self.world.existing().await;
            if existing.len() == count {
                return Ok(());
            }
            if started.elapsed() > CLEANUP_DEADLINE {
                return Err(Failed::new(format!("{problem}: {existing:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Destroys everything, and waits until nothing exists.
    pub(super) async fn end(&mut self) -> Result<(), Failed> {
        self.harness.destroys("destroy").await?;
        self.is_gone().await
    }

    /// Returns the type's schema, as the core shows it.
    pub(super) async fn schema(&self) -> Result<Value, Failed> {
        self.harness.configure(&self.subject.other_blocks(&self.world))?;
        let schemas = self.harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().cloned().unwrap_or_default();
        let found = providers.values().find_map(|provider| provider["resource_schemas"].get(S::TYPE)).cloned();
        found.ok_or_else(|| Failed::new(format!("the provider's schema has no {}", S::TYPE)))
    }

    pub(super) fn note(&mut self, reason: impl Into<String>) {
        self.notes.push(reason.into());
    }
}

/// Asserts that the output of a run has all the words.
pub(super) fn has_words(finished: Finished, words: Words) -> Result<Finished, Failed> {
    let text = finished.flat();
    match words.iter().find(|word| !text.contains(**word)) {
        None => Ok(finished),
        Some(word) => Err(Failed::new(format!("the output does not say \"{word}\"")).with_output(finished.text())),
    }
}
