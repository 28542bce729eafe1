//! A directory with a configuration in it, driven step by step with a real core.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::core::{Finished, Invocation};
use crate::engines::Core;
use crate::mirror::Mirror;

/// A root module with its state, and the core that works on it.
#[derive(Debug)]
pub struct WorkingDirectory {
    core: Core,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    echo: Option<fn(&str)>,
}

/// A plan as the core writes it in JSON.
#[derive(Debug)]
pub struct Plan(pub Value);

impl Plan {
    /// Addresses and actions of all resources that the plan changes (`pxci_template.x: update`).
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let changes = self.0["resource_changes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let described = changes.iter().map(|change| (change["address"].as_str().unwrap_or("?"), actions(change)));
        described
            .filter(|(_, actions)| actions != "no-op" && actions != "read")
            .map(|(address, actions)| format!("{address}: {actions}"))
            .collect()
    }
}

fn actions(change: &Value) -> String {
    let words = change["change"]["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("+")
}

impl WorkingDirectory {
    /// A working directory at `directory`, whose providers come from `mirror`.
    #[must_use]
    pub fn new(core: Core, directory: PathBuf, mirror: &Mirror) -> Self {
        let configuration = mirror.configuration().display().to_string();
        let environment = vec![("TF_CLI_CONFIG_FILE".to_owned(), configuration)];
        Self { core, directory, environment, echo: None }
    }

    /// Adds a variable to the core's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable out of the core's environment.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Shows each line as it comes.
    pub fn echo(&mut self, echo: fn(&str)) {
        self.echo = Some(echo);
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
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// How the core is called here.
    #[must_use]
    pub fn invocation(&self) -> Invocation<'_> {
        Invocation { core: &self.core, directory: &self.directory, environment: &self.environment, echo: self.echo }
    }

    /// `init`.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn init(&self) -> Result<Finished> {
        self.invocation().run(&["init", "-no-color"]).await?.succeeded()
    }

    /// `plan`, and the plan in JSON.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn plan(&self) -> Result<Plan> {
        self.invocation().run(&["plan", "-no-color", "-out=plan.bin"]).await?.succeeded()?;
        let shown = self.quiet().run(&["show", "-json", "plan.bin"]).await?.succeeded()?;
        Ok(Plan(serde_json::from_str(&shown.stdout).context("reading the plan's JSON")?))
    }

    /// `apply` of a fresh plan; failing is an answer, too.
    ///
    /// # Errors
    /// When the core cannot be started.
    pub async fn try_apply(&self) -> Result<Finished> {
        self.invocation().run(&["apply", "-no-color", "-auto-approve"]).await
    }

    /// `apply`.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn apply(&self) -> Result<Finished> {
        self.try_apply().await?.succeeded()
    }

    /// `destroy`.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn destroy(&self) -> Result<Finished> {
        self.invocation().run(&["destroy", "-no-color", "-auto-approve"]).await?.succeeded()
    }

    /// The state's values in JSON.
    ///
    /// # Errors
    /// When the core fails.
    pub async fn state(&self) -> Result<Value> {
        let shown = self.quiet().run(&["show", "-json"]).await?.succeeded()?;
        serde_json::from_str(&shown.stdout).context("reading the state's JSON")
    }

    fn quiet(&self) -> Invocation<'_> {
        Invocation { echo: None, ..self.invocation() }
    }
}
