//! The registration at GitHub: one per incarnation, for one job.

use github::{Client, JitConfig, JitRequest, Scope};
use ownership::RunnerName;

/// How the removal of a registration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, or was never there. GitHub hands out nothing new; a job handed out before may still run.
    Gone,
    /// GitHub keeps it because the runner has a job.
    Busy,
}

/// Registers a runner for exactly one job.
///
/// # Errors
/// [`github::Error::NameTaken`] when this incarnation was registered before: it must not be used again.
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

/// Removes the registration of this name; `runner_id` saves looking it up.
///
/// # Errors
/// When GitHub does not say whether it is gone.
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
        Err(error) if error.is_not_found() => Ok(Removal::Gone),
        Err(error) if error.is_runner_busy() => Ok(Removal::Busy),
        Err(error) => Err(error),
    }
}
