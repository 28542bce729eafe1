//! A provider, a core and a configuration, taken step by step.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tf_provider::{Provider, Reattach};

use super::plan::broken_promises;
use super::served::Served;
use super::{Core, Failed, Finished, Plan, State, Stored, WorkingDirectory};

/// A working directory of its own for one provider and one core; gone when dropped.
pub struct Harness {
    work: WorkingDirectory,
    source: String,
    /// Served until the harness is dropped.
    _served: Option<Reattach>,
    /// The same, as a program.
    _program: Option<Served>,
    directory: TempDir,
}

impl Harness {
    /// A core that uses this provider within this process: quick, and a debugger sees both sides. It is neither stopped
    /// nor spoken to with TLS; for those use [`Self::program`]. Needs a running tokio runtime.
    ///
    /// `source` is the provider's address, as in `example.com/me/paper`.
    ///
    /// # Errors
    /// When no directory or socket can be made.
    pub fn in_process<P: Provider>(core: &Core, source: &str, provider: P) -> Result<Self, Failed> {
        let served =
            Reattach::start(provider).map_err(|error| Failed::new(format!("serving the provider: {error}")))?;
        Self::attached(core, source, served)
    }

    /// A core that uses a provider which is served already.
    ///
    /// # Errors
    /// When no directory can be made.
    pub fn attached(core: &Core, source: &str, served: Reattach) -> Result<Self, Failed> {
        let mut harness = Self::bare(core, source)?;
        harness.work.attach(source, &served);
        Ok(Self { _served: Some(served), ..harness })
    }

    /// A core that starts the provider's program, as it does for users.
    ///
    /// # Errors
    /// When no directory can be made.
    pub fn program(core: &Core, source: &str, program: &Path) -> Result<Self, Failed> {
        let mut harness = Self::bare(core, source)?;
        harness.work.override_provider(source, program, harness.directory.path())?;
        Ok(harness)
    }

    /// A core without a provider yet: for [`Self::serve`].
    ///
    /// # Errors
    /// When no directory can be made.
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

    /// Starts the provider's program once for all further runs, with the environment that the working directory has by now:
    /// a fraction of the time that a start per run takes. As with [`Self::in_process`], the core neither stops it nor
    /// speaks TLS with it.
    ///
    /// # Errors
    /// When it does not start to serve.
    pub async fn serve(&mut self, program: &Path) -> Result<(), Failed> {
        self._program = Some(self.work.serve(&self.source, program).await?);
        Ok(())
    }

    /// The working directory, for whatever the steps do not do.
    #[must_use]
    pub fn work(&self) -> &WorkingDirectory {
        &self.work
    }

    /// The working directory, to add variables and the like.
    pub fn work_mut(&mut self) -> &mut WorkingDirectory {
        &mut self.work
    }

    /// A directory beside the working directory, removed with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The provider's address.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes the configuration, but for the `terraform` block.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<(), Failed> {
        self.work.write("main.tf", configuration)
    }

    /// Begins a step: writes the configuration and plans. Its name is for messages.
    ///
    /// # Errors
    /// When the plan fails.
    pub async fn step<'a>(&'a self, name: &'a str, configuration: &str) -> Result<Step<'a>, Failed> {
        let step = async {
            self.configure(configuration)?;
            self.work.plan().await
        };
        let plan = step.await.map_err(|failed| self.explain(name, failed))?;
        Ok(Step { harness: self, name, plan })
    }

    /// A configuration that must be refused when planned, after which the former one is back. Gives what was said.
    ///
    /// # Errors
    /// When it is planned.
    pub async fn refuses(&self, name: &str, configuration: &str) -> Result<Finished, Failed> {
        let former = fs::read_to_string(self.work.path().join("main.tf")).unwrap_or_default();
        self.configure(configuration)?;
        let finished = self.work.run(&["plan", "-no-color"]).await?;
        self.configure(&former)?;
        finished.refused().map_err(|failed| self.explain(name, failed))
    }

    /// Forgets the state, imports by id, and compares with what the state was, but for attributes that an import cannot
    /// know.
    ///
    /// # Errors
    /// When the import fails, or another attribute differs.
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

    /// Asserts that nothing would be changed, neither for what the state says nor for what a refresh finds.
    ///
    /// # Errors
    /// When something would be changed.
    pub async fn is_settled(&self) -> Result<(), Failed> {
        let place = |place: &'static str| move |failed: Failed| failed.within(place);
        self.work.plans_nothing(&["-refresh=false"]).await.map_err(place("a plan without refresh"))?;
        self.work.plans_nothing(&[]).await.map_err(place("a plan with refresh"))
    }

    /// Destroys everything.
    ///
    /// # Errors
    /// When it fails, or something is in the state still.
    pub async fn destroys(&self, name: &str) -> Result<(), Failed> {
        let destroy = async {
            self.work.destroy().await?;
            let left: Vec<String> =
                self.work.stored()?.resources().iter().map(|resource| resource.address.clone()).collect();
            if left.is_empty() { Ok(()) } else { Err(Failed::new(format!("the state still holds {left:?}"))) }
        };
        destroy.await.map_err(|failed| self.explain(name, failed))
    }

    /// Adds the step and the core to a failure.
    #[must_use]
    pub fn explain(&self, step: &str, failed: Failed) -> Failed {
        failed.within(format_args!("step \"{step}\" with {}", self.work.core()))
    }
}

/// A step whose plan is made.
pub struct Step<'a> {
    harness: &'a Harness,
    name: &'a str,
    plan: Plan,
}

impl Step<'_> {
    /// The plan, for checks of one's own.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Asserts what is planned for a resource: `create`, `update`, `delete+create`, `no-op`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn does(self, address: &str, actions: &str) -> Result<Self, Failed> {
        self.plan.does(address, actions).map_err(|failed| self.harness.explain(self.name, failed))?;
        Ok(self)
    }

    /// Asserts that a resource is replaced because of that attribute.
    ///
    /// # Errors
    /// When it is not.
    pub fn replaces(self, address: &str, attribute: &str) -> Result<Self, Failed> {
        self.plan.replaces(address, attribute).map_err(|failed| self.harness.explain(self.name, failed))?;
        Ok(self)
    }

    /// Applies that plan, compares the outcome with it, and asserts that nothing is left to do. Gives the state.
    ///
    /// # Errors
    /// When the apply fails, a value is not as planned, or a further plan is not empty.
    pub async fn apply(self) -> Result<State, Failed> {
        let state = self.apply_once().await?;
        self.harness.is_settled().await.map_err(|failed| self.harness.explain(self.name, failed))?;
        Ok(state)
    }

    /// As [`Self::apply`], without the plans afterwards.
    ///
    /// # Errors
    /// When the apply fails, or a value is not as planned.
    pub async fn apply_once(&self) -> Result<State, Failed> {
        let apply = async {
            let finished = self.harness.work.apply_planned().await?.succeeded()?;
            let state = self.harness.work.stored()?;
            let broken: Vec<String> =
                state.resources().iter().flat_map(|stored| as_planned(&self.plan, stored)).collect();
            if broken.is_empty() {
                return Ok(state);
            }
            Err(Failed::new(format!("the outcome is not what was planned: {}", broken.join("; ")))
                .with_output(finished.text()))
        };
        apply.await.map_err(|failed| self.harness.explain(self.name, failed))
    }
}

fn as_planned(plan: &Plan, stored: &Stored) -> Vec<String> {
    let mut broken = Vec::new();
    if let Ok((after, unknown)) = plan.planned(&stored.address) {
        broken_promises(after, unknown, &stored.attributes, "", &mut broken);
    }
    broken.into_iter().map(|broken| format!("{}.{broken}", stored.address)).collect()
}

/// Compares what was imported with what the state was.
pub(crate) fn same_attributes(before: &Stored, imported: &Stored, unknowable: &[&str]) -> Result<(), Failed> {
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
