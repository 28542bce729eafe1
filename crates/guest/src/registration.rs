//! Registrations at GitHub. Each incarnation of a VM has one, for one job.

use github::{Client, JitConfig, JitRequest, Scope};
use ownership::RunnerName;

/// Result of the removal of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The registration is gone or never existed. GitHub assigns no new job to the runner. A job that was assigned before
    /// may still run.
    Gone,
    /// GitHub keeps the registration because the runner has a job.
    Busy,
}

/// Registers a runner for exactly one job.
///
/// # Errors
/// [`github::Error::NameTaken`] if this incarnation was registered before. It must not be used again.
pub async fn mint(
    github: &Client,
    scope: &Scope,
    name: &RunnerName,
    labels: &[String],
    runner_group_id: u64,
) -> Result<JitConfig, github::Error> {
    let request = JitRequest { name: name.clone(), labels: labels.to_vec(), runner_group_id };
    github.generate_jitconfig(scope, &request).await
}

/// Removes the registration of this name. With `runner_id`, no search for the name is needed.
///
/// # Errors
/// When GitHub's answer leaves open whether the registration is gone.
pub async fn deregister(
    github: &Client,
    scope: &Scope,
    name: &RunnerName,
    runner_id: Option<u64>,
) -> Result<Removal, github::Error> {
    let runner_id = match runner_id {
        Some(id) => Some(id),
        None => github.runners(scope, Some(name)).await?.first().map(|runner| runner.id),
    };
    let Some(runner_id) = runner_id else {
        return Ok(Removal::Gone);
    };
    match github.delete_runner(scope, runner_id).await {
        Ok(()) => Ok(Removal::Gone),
        Err(error) if error.is_not_found() => missing(github, scope, name, error).await,
        Err(error) if error.is_runner_busy() => Ok(Removal::Busy),
        Err(error) => Err(error),
    }
}

/// Finds out whether a registration is gone that GitHub does not know: a token that lost its access gets the same answer,
/// and then cannot list the runners either.
async fn missing(
    github: &Client,
    scope: &Scope,
    name: &RunnerName,
    error: github::Error,
) -> Result<Removal, github::Error> {
    if github.runners(scope, Some(name)).await?.is_empty() { Ok(Removal::Gone) } else { Err(error) }
}
