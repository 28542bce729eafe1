//! A fresh world with a working directory, for one step of one type.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Body, ConformanceStep, Subject};
use crate::testing::{Core, Failed, Harness, State, Stored};

/// What a world may need to clear away after the provider has answered.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Stage<S> {
    pub(super) subject: S,
    pub(super) harness: Harness,
    pub(super) notes: Vec<String>,
}

impl<S: Subject> Stage<S> {
    /// For steps whose very point is the process or TLS, the provider is always a program.
    pub(super) async fn begin(core: &Core, step: ConformanceStep) -> Result<Self, Failed> {
        let served = if step.needs_a_process() { None } else { S::in_process() };
        let mut harness = match served {
            Some(served) => {
                let served = served.map_err(|error| Failed::new(format!("serving the provider: {error}")))?;
                Harness::attached(core, S::SOURCE, served)?
            }
            None => Harness::program(core, S::SOURCE, &S::program())?,
        };
        let subject = S::begin(&mut harness).await?;
        Ok(Self { subject, harness, notes: Vec::new() })
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
        format!("{}\n{block}", self.subject.beside())
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

    pub(super) fn state(&self) -> Result<State, Failed> {
        self.harness.work().stored()
    }

    pub(super) fn stored(&self) -> Result<Option<Stored>, Failed> {
        Ok(self.state()?.find(&Self::address()).cloned())
    }

    /// What exists is what the state says: nothing for nothing, something for something.
    pub(super) async fn is_truthful(&mut self) -> Result<(), Failed> {
        let Some(stored) = self.stored()? else { return self.is_gone().await };
        let existing = self.subject.existing().await;
        if existing.is_empty() {
            return Err(Failed::new(format!("the state has {}, but nothing exists", stored.address)));
        }
        Ok(())
    }

    /// Nothing exists, sooner or later.
    pub(super) async fn is_gone(&mut self) -> Result<(), Failed> {
        let begun = Instant::now();
        loop {
            let existing = self.subject.existing().await;
            if existing.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failed::new(format!("left behind, and not in the state: {existing:?}")));
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
        self.harness.configure(&self.subject.beside())?;
        let schemas = self.harness.work().schemas().await?;
        let providers = schemas["provider_schemas"].as_object().cloned().unwrap_or_default();
        let found = providers.values().find_map(|provider| provider["resource_schemas"].get(S::TYPE)).cloned();
        found.ok_or_else(|| Failed::new(format!("the provider's schema has no {}", S::TYPE)))
    }

    pub(super) fn note(&mut self, reason: impl Into<String>) {
        self.notes.push(reason.into());
    }
}
