//! A directory with a configuration, in which a real core runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tf_provider::Reattach;

use super::served::Served;
use super::{Attributes, Core, Failed, Finished, Plan, Running, State, state};

const PLAN: &str = "plan.bin";
const STATE: &str = "terraform.tfstate";
/// Registries of addresses without a host, one for each core.
const REGISTRIES: [&str; 2] = ["registry.opentofu.org", "registry.terraform.io"];
/// Variable with the addresses of providers that are already served.
const REATTACH: &str = "TF_REATTACH_PROVIDERS";
/// Exit code of `plan -detailed-exitcode` for a plan with changes.
const SOMETHING_TO_DO: i32 = 2;

/// A root module with its state, and the core that runs on it.
#[derive(Debug, Clone)]
pub struct WorkingDirectory {
    core: Core,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    echo: Option<fn(&str)>,
}

impl WorkingDirectory {
    /// Returns a working directory at the existing `directory`. The core does not find the provider yet.
    #[must_use]
    pub fn new(core: Core, directory: PathBuf) -> Self {
        Self { core, directory, environment: BTreeMap::new(), echo: None }
    }

    /// Uses a CLI configuration file, as `TF_CLI_CONFIG_FILE` does.
    pub fn configure_core(&mut self, file: &Path) {
        self.set("TF_CLI_CONFIG_FILE", &file.display().to_string());
    }

    /// Lets the core start a program for the provider with a source address (`dev_overrides`). No `init` is needed. The
    /// files for this are written to `directory`, which is not the working directory.
    ///
    /// # Errors
    /// Fails if the files cannot be written.
    pub fn override_provider(&mut self, source: &str, program: &Path, directory: &Path) -> Result<(), Failed> {
        let name = source.rsplit('/').next().unwrap_or(source);
        let packages = directory.join("packages");
        fs::create_dir_all(&packages).map_err(Failed::io("making a directory for the provider"))?;
        let link = packages.join(format!("terraform-provider-{name}"));
        symlink(program, &link).map_err(Failed::io(format_args!("linking {}", program.display())))?;
        let file = directory.join("overrides.tfrc");
        let text = format!("provider_installation {{\n  dev_overrides {{\n    {source:?} = {packages:?}\n  }}\n}}\n");
        fs::write(&file, text).map_err(Failed::io(format_args!("writing {}", file.display())))?;
        self.configure_core(&file);
        Ok(())
    }

    /// Lets the core use a provider that is already served, under a source address. No `init` is needed.
    pub fn attach(&mut self, source: &str, served: &Reattach) {
        let addresses = addresses(source);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        self.set(REATTACH, &served.environment(&addresses));
    }

    /// Starts the provider's program with the current environment of the core, and lets the core use it for every
    /// further run. No `init` is needed. The program serves until the returned value is dropped.
    pub(super) async fn serve(&mut self, source: &str, program: &Path) -> Result<Served, Failed> {
        let served = Served::start(program, &addresses(source), &self.directory, self.environment.clone()).await?;
        let reattach = served.reattach.clone();
        self.set(REATTACH, &reattach);
        Ok(served)
    }

    /// Adds a variable to the core's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Removes a variable from the core's environment.
    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Calls a function with each line that the core prints.
    pub fn echo(&mut self, echo: fn(&str)) {
        self.echo = Some(echo);
    }

    /// Returns the core.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Writes a file of the configuration.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(Failed::io(format_args!("writing {}", path.display())))
    }

    /// Starts the core with these arguments.
    ///
    /// # Errors
    /// Fails if the core cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Running, Failed> {
        Running::start(&self.core, arguments, &self.directory, self.environment.clone(), self.echo)
    }

    /// Runs the core with these arguments. A failing run is not an error.
    ///
    /// # Errors
    /// Fails if the core cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Result<Finished, Failed> {
        self.start(arguments)?.finish().await
    }

    /// Runs the core as [`Self::run`] does, without echo.
    async fn run_quietly(&self, arguments: &[&str]) -> Result<Finished, Failed> {
        Running::start(&self.core, arguments, &self.directory, self.environment.clone(), None)?.finish().await
    }

    /// Runs `init`.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn init(&self) -> Result<Finished, Failed> {
        self.run(&["init", "-no-color"]).await?.succeeded()
    }

    /// Runs `plan`, and returns the plan. [`Self::apply_planned`] applies it.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn plan(&self) -> Result<Plan, Failed> {
        self.plan_with(&[]).await
    }

    /// Runs `plan` with further arguments, such as `-refresh=false`.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn plan_with(&self, more: &[&str]) -> Result<Plan, Failed> {
        let output = format!("-out={PLAN}");
        let arguments = [&["plan", "-no-color", &output], more].concat();
        let printed = self.run(&arguments).await?.succeeded()?.stdout;
        self.planned(printed).await
    }

    /// Runs `plan` with further arguments, and asserts that it has no changes. Faster than reading the plan.
    ///
    /// # Errors
    /// Fails if the core fails or the plan has changes, and names each attribute with both values.
    pub async fn plans_nothing(&self, more: &[&str]) -> Result<(), Failed> {
        let output = format!("-out={PLAN}");
        let arguments = [&["plan", "-no-color", "-detailed-exitcode", &output], more].concat();
        let finished = self.run(&arguments).await?;
        if finished.status.code() != Some(SOMETHING_TO_DO) {
            return finished.succeeded().map(drop);
        }
        self.planned(finished.stdout).await?.is_empty().map(drop)
    }

    /// Reads the last plan.
    async fn planned(&self, printed: String) -> Result<Plan, Failed> {
        let shown = self.run_quietly(&["show", "-json", PLAN]).await?.succeeded()?;
        Ok(Plan::new(json(&shown.stdout)?, printed))
    }

    /// Runs `apply` with the last plan, without a refresh. A failing run is not an error.
    ///
    /// # Errors
    /// Fails if the core cannot be started.
    pub async fn apply_planned(&self) -> Result<Finished, Failed> {
        self.run(&["apply", "-no-color", "-refresh=false", PLAN]).await
    }

    /// Runs `apply` with a fresh plan. A failing run is not an error.
    ///
    /// # Errors
    /// Fails if the core cannot be started.
    pub async fn try_apply(&self) -> Result<Finished, Failed> {
        self.run(&["apply", "-no-color", "-auto-approve"]).await
    }

    /// Runs `apply` with a fresh plan.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn apply(&self) -> Result<Finished, Failed> {
        self.try_apply().await?.succeeded()
    }

    /// Runs `destroy`. A failing run is not an error.
    ///
    /// # Errors
    /// Fails if the core cannot be started.
    pub async fn try_destroy(&self) -> Result<Finished, Failed> {
        self.run(&["destroy", "-no-color", "-auto-approve"]).await
    }

    /// Runs `destroy`.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn destroy(&self) -> Result<Finished, Failed> {
        self.try_destroy().await?.succeeded()
    }

    /// Returns the state's values in JSON, as `show -json` prints them.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn state(&self) -> Result<Value, Failed> {
        let shown = self.run_quietly(&["show", "-json"]).await?.succeeded()?;
        json(&shown.stdout)
    }

    /// Reads the state.
    ///
    /// # Errors
    /// Fails if the state cannot be read.
    pub fn stored(&self) -> Result<State, Failed> {
        let path = self.directory.join(STATE);
        if !path.exists() {
            return Ok(State::default());
        }
        State::parse(fs::read_to_string(&path).map_err(Failed::io(format_args!("reading {}", path.display())))?)
    }

    /// Converts the stored state to an older schema version of a type: sets the version, and changes the attributes.
    ///
    /// # Errors
    /// Fails if the state cannot be read or written.
    pub fn downgrade_state(&self, kind: &str, version: i64, change: fn(&mut Attributes)) -> Result<(), Failed> {
        let path = self.directory.join(STATE);
        let text = fs::read_to_string(&path).map_err(Failed::io(format_args!("reading {}", path.display())))?;
        let older = state::downgraded(&text, kind, version, change);
        let older = older.map_err(|error| Failed::new(format!("downgrading {}: {error}", path.display())))?;
        self.write(STATE, &older)
    }

    /// Removes the state.
    ///
    /// # Errors
    /// Fails if the state cannot be removed.
    pub fn forget_state(&self) -> Result<(), Failed> {
        for name in [STATE, "terraform.tfstate.backup"] {
            let path = self.directory.join(name);
            if path.exists() {
                fs::remove_file(&path).map_err(Failed::io(format_args!("removing {}", path.display())))?;
            }
        }
        Ok(())
    }

    /// Reads the schemas of the configuration's providers from the core.
    ///
    /// # Errors
    /// Fails if the core fails.
    pub async fn schemas(&self) -> Result<Value, Failed> {
        let answer = self.run_quietly(&["providers", "schema", "-json"]).await?.succeeded()?;
        json(&answer.stdout)
    }
}

/// Returns the full addresses of a provider, one for each core.
fn addresses(source: &str) -> Vec<String> {
    if source.matches('/').count() != 1 {
        return vec![source.to_owned()];
    }
    REGISTRIES.iter().map(|host| format!("{host}/{source}")).collect()
}

fn json(text: &str) -> Result<Value, Failed> {
    serde_json::from_str(text)
        .map_err(|error| Failed::new(format!("reading the core's JSON: {error}")).with_output(text))
}
