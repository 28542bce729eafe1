//! A directory with a configuration in it, driven with a real core.

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
/// Registries that an address without a host means, by core.
const REGISTRIES: [&str; 2] = ["registry.opentofu.org", "registry.terraform.io"];
/// Tells a core where providers are served already.
const REATTACH: &str = "TF_REATTACH_PROVIDERS";
/// How `plan -detailed-exitcode` ends where something would be changed.
const SOMETHING_TO_DO: i32 = 2;

/// A root module with its state, and the core that works on it.
#[derive(Debug, Clone)]
pub struct WorkingDirectory {
    core: Core,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    echo: Option<fn(&str)>,
}

impl WorkingDirectory {
    /// A working directory at `directory`, which exists. How the core finds the provider must be added.
    #[must_use]
    pub fn new(core: Core, directory: PathBuf) -> Self {
        Self { core, directory, environment: BTreeMap::new(), echo: None }
    }

    /// Takes providers from where a CLI configuration file says, as `TF_CLI_CONFIG_FILE`.
    pub fn configure_core(&mut self, file: &Path) {
        self.set("TF_CLI_CONFIG_FILE", &file.display().to_string());
    }

    /// Lets the core start that program for the provider with that source address (`dev_overrides`); no `init` is
    /// needed. The files for it are made in `directory`, which is not the working directory.
    ///
    /// # Errors
    /// When they cannot be written.
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

    /// Lets the core use a provider that is served already, under that source address; no `init` is needed.
    pub fn attach(&mut self, source: &str, served: &Reattach) {
        let addresses = addresses(source);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        self.set(REATTACH, &served.environment(&addresses));
    }

    /// Starts the provider's program, with the environment that the core has by now, and lets the core use it for every
    /// run to come; no `init` is needed. It serves as long as what is returned lives.
    pub(super) async fn serve(&mut self, source: &str, program: &Path) -> Result<Served, Failed> {
        let served = Served::start(program, &addresses(source), &self.directory, self.environment.clone()).await?;
        let reattach = served.reattach.clone();
        self.set(REATTACH, &reattach);
        Ok(served)
    }

    /// Adds a variable to the core's environment, which has little else in it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Takes a variable out of the core's environment.
    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Shows each line that the core prints as it comes.
    pub fn echo(&mut self, echo: fn(&str)) {
        self.echo = Some(echo);
    }

    /// Which core works here.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Where the configuration and its state are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Writes a file of the configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(Failed::io(format_args!("writing {}", path.display())))
    }

    /// Starts the core with these words.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, words: &[&str]) -> Result<Running, Failed> {
        Running::start(&self.core, words, &self.directory, self.environment.clone(), self.echo)
    }

    /// Runs the core with these words; failing is an answer too.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, words: &[&str]) -> Result<Finished, Failed> {
        self.start(words)?.finish().await
    }

    /// As [`Self::run`], unseen.
    async fn ask(&self, words: &[&str]) -> Result<Finished, Failed> {
        Running::start(&self.core, words, &self.directory, self.environment.clone(), None)?.finish().await
    }

    /// `init`.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn init(&self) -> Result<Finished, Failed> {
        self.run(&["init", "-no-color"]).await?.succeeded()
    }

    /// `plan`, and the plan in JSON. It is kept for [`Self::apply_planned`].
    ///
    /// # Errors
    /// When the core fails.
    pub async fn plan(&self) -> Result<Plan, Failed> {
        self.plan_with(&[]).await
    }

    /// `plan` with further words, such as `-refresh=false`.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn plan_with(&self, further: &[&str]) -> Result<Plan, Failed> {
        let output = format!("-out={PLAN}");
        let words = [&["plan", "-no-color", &output], further].concat();
        let printed = self.run(&words).await?.succeeded()?.stdout;
        self.planned(printed).await
    }

    /// Plans with further words, and asserts that nothing would be changed. Cheaper than to look into the plan.
    ///
    /// # Errors
    /// When the core fails, or something would be changed: with each attribute and both values.
    pub async fn plans_nothing(&self, further: &[&str]) -> Result<(), Failed> {
        let output = format!("-out={PLAN}");
        let words = [&["plan", "-no-color", "-detailed-exitcode", &output], further].concat();
        let finished = self.run(&words).await?;
        if finished.status.code() != Some(SOMETHING_TO_DO) {
            return finished.succeeded().map(drop);
        }
        self.planned(finished.stdout).await?.is_empty().map(drop)
    }

    /// The plan that was made last.
    async fn planned(&self, printed: String) -> Result<Plan, Failed> {
        let shown = self.ask(&["show", "-json", PLAN]).await?.succeeded()?;
        Ok(Plan::new(json(&shown.stdout)?, printed))
    }

    /// `apply` of the plan that was made last, without a refresh; failing is an answer too.
    ///
    /// # Errors
    /// When the core cannot be started.
    pub async fn apply_planned(&self) -> Result<Finished, Failed> {
        self.run(&["apply", "-no-color", "-refresh=false", PLAN]).await
    }

    /// `apply` of a fresh plan; failing is an answer too.
    ///
    /// # Errors
    /// When the core cannot be started.
    pub async fn try_apply(&self) -> Result<Finished, Failed> {
        self.run(&["apply", "-no-color", "-auto-approve"]).await
    }

    /// `apply` of a fresh plan.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn apply(&self) -> Result<Finished, Failed> {
        self.try_apply().await?.succeeded()
    }

    /// `destroy`; failing is an answer too.
    ///
    /// # Errors
    /// When the core cannot be started.
    pub async fn try_destroy(&self) -> Result<Finished, Failed> {
        self.run(&["destroy", "-no-color", "-auto-approve"]).await
    }

    /// `destroy`.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn destroy(&self) -> Result<Finished, Failed> {
        self.try_destroy().await?.succeeded()
    }

    /// The state's values in JSON, as `show -json` gives them.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn state(&self) -> Result<Value, Failed> {
        let shown = self.ask(&["show", "-json"]).await?.succeeded()?;
        json(&shown.stdout)
    }

    /// Reads the state.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored(&self) -> Result<State, Failed> {
        let path = self.directory.join(STATE);
        if !path.exists() {
            return Ok(State::default());
        }
        State::parse(fs::read_to_string(&path).map_err(Failed::io(format_args!("reading {}", path.display())))?)
    }

    /// Makes the stored state what an older version of a type's schema had left: sets the version, and changes the attributes.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn age_state(&self, kind: &str, version: i64, change: fn(&mut Attributes)) -> Result<(), Failed> {
        let path = self.directory.join(STATE);
        let text = fs::read_to_string(&path).map_err(Failed::io(format_args!("reading {}", path.display())))?;
        let aged = state::aged(&text, kind, version, change);
        let aged = aged.map_err(|error| Failed::new(format!("ageing {}: {error}", path.display())))?;
        self.write(STATE, &aged)
    }

    /// As if the state had never been.
    ///
    /// # Errors
    /// When it cannot be removed.
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
    /// When the core fails.
    pub async fn schemas(&self) -> Result<Value, Failed> {
        let answer = self.ask(&["providers", "schema", "-json"]).await?.succeeded()?;
        json(&answer.stdout)
    }
}

/// A provider's address in full, for each core.
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
