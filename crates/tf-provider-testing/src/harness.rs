//! Drives a provider and a core with configurations, step by step.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tf_provider::{Provider, Reattach};

use super::plan::differences_from_plan;
use super::served::Served;
use super::{Core, Failed, Finished, Plan, State, StoredResource, WorkingDirectory};

/// A temporary working directory for one provider and one core.
pub struct Harness {
    work: WorkingDirectory,
    source: String,
    /// Provider that this process serves until the harness is dropped.
    _served: Option<Reattach>,
    /// Provider that its own program serves until the harness is dropped.
    _program: Option<Served>,
    directory: TempDir,
}

impl Harness {
    /// Creates a harness with a provider in this process, which is fast and easy to debug. The core neither stops such
    /// a provider nor uses TLS; tests of those need [`Self::program`]. Needs a running tokio runtime.
    ///
    /// `source` is the provider's address, as in `example.com/me/paper`.
    ///
    /// # Errors
    /// Fails if no directory or socket can be created.
    pub fn in_process<P: Provider>(core: &Core, source: &str, provider: P) -> Result<Self, Failed> {
        let served =
            Reattach::start(provider).map_err(|error| Failed::new(format!("serving the provider: {error}")))?;
        Self::attached(core, source, served)
    }

    /// Creates a harness with a provider that is already served.
    ///
    /// # Errors
    /// Fails if no directory can be created.
    pub fn attached(core: &Core, source: &str, served: Reattach) -> Result<Self, Failed> {
        let mut harness = Self::bare(core, source)?;
        harness.work.attach(source, &served);
        Ok(Self { _served: Some(served), ..harness })
    }

    /// Creates a harness whose core starts the provider's program, as it does for users.
    ///
    /// # Errors
    /// Fails if no directory can be created.
    pub fn program(core: &Core, source: &str, program: &Path) -> Result<Self, Failed> {
        let mut harness = Self::bare(core, source)?;
        harness.work.override_provider(source, program, harness.directory.path())?;
        Ok(harness)
    }

    /// Creates a harness without a provider, for [`Self::serve`].
    ///
    /// # Errors
    /// Fails if no directory can be created.
    pub fn bare(core: &Core, source: &str) -> Result<Self, Failed> {
        let directory = tempfile::Builder::new().prefix("tf-test-").tempdir();
        let directory = directory.map_err(Failed::io("making a working directory"))?;
        let path = directory.path().join("work");
        fs::create_dir(&path).map_err(Failed::io("making a working directory"))?;
        let name = source.rsplit('/').next().unwrap_or(source);
        let work = WorkingDirectory::new(core.clone(), path);
        let text = format!("terraform {{\n  required_providers {{\n    {name} = {{ source = {source:?} }}\n  }}\n}}\n");
        work.write("required_providers.tf", &text)?;
        Ok(Self { work, source: source.to_owned(), _served: None, _program: None, directory })
    }

    /// Starts the provider's program once for all further runs, with the current environment of the working directory.
    /// That takes a fraction of the time of a start for each run. As with [`Self::in_process`], the core neither stops
    /// the provider nor uses TLS.
    ///
    /// # Errors
    /// Fails if the program does not start to serve.
    pub async fn serve(&mut self, program: &Path) -> Result<(), Failed> {
        self._program = Some(self.work.serve(&self.source, program).await?);
        Ok(())
    }

    /// Returns the working directory, for actions that steps do not have.
    #[must_use]
    pub fn work(&self) -> &WorkingDirectory {
        &self.work
    }

    /// Returns the working directory, for example to add variables.
    pub fn work_mut(&mut self) -> &mut WorkingDirectory {
        &mut self.work
    }

    /// Returns the temporary directory around the working directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the provider's source address.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes the configuration, without the `terraform` block.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<(), Failed> {
        self.work.write("main.tf", configuration)
    }

    /// Starts a step: writes the configuration and plans. The name is for messages.
    ///
    /// # Errors
    /// Fails if the plan fails.
    pub async fn step<'a>(&'a self, name: &'a str, configuration: &str) -> Result<Step<'a>, Failed> {
        let step = async {
            self.configure(configuration)?;
            self.work.plan().await
        };
        let plan = step.await.map_err(|failed| self.explain(name, failed))?;
        Ok(Step { harness: self, name, plan })
    }

    /// Asserts that the plan of a configuration fails, restores the earlier configuration, and returns the run.
    ///
    /// # Errors
    /// Fails if the plan succeeds.
    pub async fn refuses(&self, name: &str, configuration: &str) -> Result<Finished, Failed> {
        let former = fs::read_to_string(self.work.path().join("main.tf")).unwrap_or_default();
        self.configure(configuration)?;
        let finished = self.work.run(&["plan", "-no-color"]).await?;
        self.configure(&former)?;
        finished.refused().map_err(|failed| self.explain(name, failed))
    }

    /// Removes the state, imports by id, and compares the states, except for attributes that an import cannot know.
    ///
    /// # Errors
    /// Fails if the import fails, or another attribute differs.
    pub async fn imports(&self, name: &str, address: &str, id: &str, unknowable: &[&str]) -> Result<State, Failed> {
        let import = async {
            let before = self.work.stored()?.resource(address)?.clone();
            self.work.forget_state()?;
            self.work.run(&["import", "-no-color", address, id]).await?.succeeded()?;
            let state = self.work.stored()?;
            same_attributes(&before, state.resource(address)?, unknowable)?;
            Ok(state)
        };
        import.await.map_err(|failed| self.explain(name, failed))
    }

    /// Asserts that plans without and with refresh are empty.
    ///
    /// # Errors
    /// Fails if a plan has changes.
    pub async fn is_settled(&self) -> Result<(), Failed> {
        let place = |place: &'static str| move |failed: Failed| failed.within(place);
        self.work.plans_nothing(&["-refresh=false"]).await.map_err(place("a plan without refresh"))?;
        self.work.plans_nothing(&[]).await.map_err(place("a plan with refresh"))
    }

    /// Destroys everything.
    ///
    /// # Errors
    /// Fails if the destroy fails, or resources remain in the state.
    pub async fn destroys(&self, name: &str) -> Result<(), Failed> {
        let destroy = async {
            self.work.destroy().await?;
            let left: Vec<String> =
                self.work.stored()?.resources().iter().map(|resource| resource.address.clone()).collect();
            if left.is_empty() { Ok(()) } else { Err(Failed::new(format!("the state still has {left:?}"))) }
        };
        destroy.await.map_err(|failed| self.explain(name, failed))
    }

    /// Adds the step and the core to a failure.
    #[must_use]
    pub fn explain(&self, step: &str, failed: Failed) -> Failed {
        failed.within(format_args!("step \"{step}\" with {}", self.work.core()))
    }
}

/// A planned step.
pub struct Step<'a> {
    harness: &'a Harness,
    name: &'a str,
    plan: Plan,
}

impl Step<'_> {
    /// Returns the plan, for further checks.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Asserts the planned action for a resource: `create`, `update`, `delete+create`, `no-op`.
    ///
    /// # Errors
    /// Fails if another action is planned.
    pub fn does(self, address: &str, actions: &str) -> Result<Self, Failed> {
        self.plan.does(address, actions).map_err(|failed| self.harness.explain(self.name, failed))?;
        Ok(self)
    }

    /// Asserts that a resource is replaced because of an attribute.
    ///
    /// # Errors
    /// Fails if the resource is not replaced because of the attribute.
    pub fn replaces(self, address: &str, attribute: &str) -> Result<Self, Failed> {
        self.plan.replaces(address, attribute).map_err(|failed| self.harness.explain(self.name, failed))?;
        Ok(self)
    }

    /// Applies the plan, compares the result with it, and asserts that further plans are empty. Returns the state.
    ///
    /// # Errors
    /// Fails if the apply fails, a value is not as planned, or a further plan is not empty.
    pub async fn apply(self) -> Result<State, Failed> {
        let state = self.apply_once().await?;
        self.harness.is_settled().await.map_err(|failed| self.harness.explain(self.name, failed))?;
        Ok(state)
    }

    /// Applies the plan as [`Self::apply`] does, without further plans.
    ///
    /// # Errors
    /// Fails if the apply fails, or a value is not as planned.
    pub async fn apply_once(&self) -> Result<State, Failed> {
        let apply = async {
            let finished = self.harness.work.apply_planned().await?.succeeded()?;
            let state = self.harness.work.stored()?;
            let broken: Vec<String> =
                state.resources().iter().flat_map(|stored| as_planned(&self.plan, stored)).collect();
            if broken.is_empty() {
                return Ok(state);
            }
            Err(Failed::new(format!("the result differs from the plan: {}", broken.join("; ")))
                .with_output(finished.text()))
        };
        apply.await.map_err(|failed| self.harness.explain(self.name, failed))
    }
}

fn as_planned(plan: &Plan, stored: &StoredResource) -> Vec<String> {
    let mut broken = Vec::new();
    if let Ok((after, unknown)) = plan.planned(&stored.address) {
        differences_from_plan(after, unknown, &stored.attributes, "", &mut broken);
    }
    broken.into_iter().map(|broken| format!("{}.{broken}", stored.address)).collect()
}

/// Compares the imported state with the earlier one.
pub(crate) fn same_attributes(
    before: &StoredResource,
    imported: &StoredResource,
    unknowable: &[&str],
) -> Result<(), Failed> {
    let nothing = serde_json::Map::new();
    let before = before.attributes.as_object().unwrap_or(&nothing);
    let differing = before
        .iter()
        .filter(|(name, value)| !unknowable.contains(&name.as_str()) && imported.attributes[name.as_str()] != **value);
    let described: Vec<String> = differing
        .map(|(name, value)| format!("{name} is {}, was {value}", imported.attributes[name.as_str()]))
        .collect();
    if described.is_empty() {
        return Ok(());
    }
    Err(Failed::new(format!("{} is imported differently: {}", imported.address, described.join("; "))))
}
