//! Self-hosted runners and their just-in-time registrations.

use std::fmt;

use ownership::RunnerName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::Deserialize;

use crate::calls::Operation;
use crate::client::Client;
use crate::error::Error;
use crate::model::Runner;
use crate::permission;
use crate::scope::Scope;

/// Request for a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JitRequest {
    /// Name of the runner, unique in the scope.
    pub name: RunnerName,
    /// Labels of the runner, 1 to 100. GitHub adds no labels.
    pub labels: Vec<String>,
    /// Number of the runner group. 1 is "Default", the only group of a repository.
    pub runner_group_id: u64,
}

/// A registration for exactly one job.
pub struct JitConfig {
    /// Registered runner, which GitHub lists as offline for now.
    pub runner: Runner,
    /// Just-in-time configuration for the runner program, a secret. Its holder can take a job, so it may be in the
    /// memory of one VM only.
    pub encoded: SecretString,
}

impl fmt::Debug for JitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JitConfig").field("runner", &self.runner).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Runners {
    runners: Vec<Runner>,
}

#[derive(Deserialize)]
struct Minted {
    runner: Runner,
    encoded_jit_config: String,
}

impl Client {
    /// Returns the runners of `scope`, or only the runner of this `name`. The absence of a runner does not prove that
    /// it is idle or has ended.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn runners(&self, scope: &Scope, name: Option<&RunnerName>) -> Result<Vec<Runner>, Error> {
        let operation = Operation::new(format!("list runners of {scope}"), permission::runners(scope));
        let filter = name.map(|name| format!("&name={}", utf8_percent_encode(name.as_str(), NON_ALPHANUMERIC)));
        let path = format!("{}/actions/runners?per_page=100{}", scope.path(), filter.unwrap_or_default());
        let runners = self.list(&operation, &path, |page: Runners| page.runners).await?;
        // Old enterprise servers ignore the filter and return all runners.
        Ok(runners.into_iter().filter(|runner| name.is_none_or(|name| runner.name == name.as_str())).collect())
    }

    /// Returns one runner by its number.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the registration is gone, as after the runner's only job.
    pub async fn runner(&self, scope: &Scope, id: u64) -> Result<Runner, Error> {
        let operation = Operation::new(format!("read runner {id} of {scope}"), permission::runners(scope));
        self.get(&operation, &format!("{}/actions/runners/{id}", scope.path())).await
    }

    /// Removes a registration, so that the runner gets no *new* job. A job that it already has continues.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the registration is gone already. [`Error::RunnerBusy`] if GitHub keeps it because of a
    /// job.
    pub async fn delete_runner(&self, scope: &Scope, id: u64) -> Result<(), Error> {
        let operation = Operation::new(format!("remove runner {id} of {scope}"), permission::runners(scope));
        let result = self.delete(&operation, &format!("{}/actions/runners/{id}", scope.path())).await;
        result.map_err(|error| match error {
            // GitHub's published description of this request has one reason for a 422.
            Error::Rejected { operation, status: 422, message } => Error::RunnerBusy { operation, message },
            other => other,
        })
    }

    /// Registers a runner for exactly one job.
    ///
    /// # Errors
    /// [`Error::NameTaken`] if the name exists. After [`Error::Transport`], [`Error::Server`] and [`Error::Malformed`],
    /// the registration may exist, so search for the name.
    pub async fn generate_jitconfig(&self, scope: &Scope, request: &JitRequest) -> Result<JitConfig, Error> {
        let operation =
            Operation::new(format!("register runner {} in {scope}", request.name), permission::runners(scope));
        let body = serde_json::json!({
            "name": request.name,
            "runner_group_id": request.runner_group_id,
            "labels": request.labels,
            "work_folder": "_work",
        });
        let path = format!("{}/actions/runners/generate-jitconfig", scope.path());
        let minted: Result<Minted, Error> = self.post(&operation, &path, &body).await;
        match minted {
            Ok(minted) => Ok(JitConfig { runner: minted.runner, encoded: minted.encoded_jit_config.into() }),
            Err(Error::Rejected { operation, status: 409, .. }) => Err(Error::NameTaken { operation }),
            Err(error) => Err(error),
        }
    }
}
