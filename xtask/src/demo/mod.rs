//! The demo: runs a farm from `apply` to a reaped VM, with a new version of the image, to an empty cluster, and prints
//! a line for each step.

mod jobs;
mod stage;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use farm::harness::{Plan, WorkingDirectory};
use sim_pve::Line;
use tokio::signal::unix::{SignalKind, signal};

use self::jobs::{Jobs, LIMIT};
use self::stage::Stage;
use crate::narrate::Narrator;
use crate::setup::Ready;

/// The file of the image that the demo edits.
const FILE_TO_EDIT: &str = "scripts/packages.sh";
const ADDITION: &str = "echo 'second version of the image' >/etc/pxci-demo";

/// Number of jobs: more than the pool's limit, so that some must wait.
const JOBS: usize = 10;

/// Runs the demo. Nothing stays running, even after an interrupt.
pub(crate) async fn run(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        result = play(narrator, ready, line) => result,
        _ = tokio::signal::ctrl_c() => bail!("interrupted: stopping everything that was started"),
        _ = terminated.recv() => bail!("terminated: stopping everything that was started"),
    }
}

async fn play(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<()> {
    narrator.say("1. starting the simulators of Proxmox VE and GitHub");
    let stage = Stage::set(narrator, ready, line).await?;

    narrator.say("2. rolling out examples/complete");
    let farm = &stage.working_directory;
    farm.init().await?;
    let applied = farm.apply().await?;
    narrator.say(&format!("`apply` took {:.1} s", applied.took.as_secs_f32()));
    ensure!(version(farm).await? == 1, "the first version of the template must be version 1");
    stage.show(narrator);

    narrator.say(&format!("3. queueing {JOBS} jobs; the pool's limit is {LIMIT} VMs"));
    let jobs = Jobs::queue(&stage, JOBS);
    let together = jobs.finish(&stage, narrator).await?;

    narrator.say(&format!("4. editing {FILE_TO_EDIT} of the image"));
    stage.image.edit(FILE_TO_EDIT, ADDITION)?;
    let plan = farm.plan().await?;
    shows_the_file(&plan)?;
    narrator.detail(&format!("the plan names {FILE_TO_EDIT} and changes: {}", plan.changes().join(", ")));
    farm.apply().await?;
    ensure!(version(farm).await? == 2, "the edited image must become version 2");
    narrator.say("version 2 was built next to version 1; the next job must run on it");
    let jobs = Jobs::queue(&stage, 1);
    let alone = jobs.finish(&stage, narrator).await?;
    narrator.say(&format!(
        "requests per job to Proxmox VE: {} for a job alone, {} for each of {JOBS} together; to GitHub: {} and {}",
        alone.pve, together.pve, alone.github, together.github
    ));
    jobs.ran_on(&stage, current_template(farm).await?)?;

    narrator.say("5. a second plan, then `destroy`");
    let plan = farm.plan().await?;
    ensure!(plan.changes().is_empty(), "the second plan is not empty: {}", plan.changes().join(", "));
    narrator.detail("the plan is empty");
    let destroyed = farm.destroy().await?;
    narrator.say(&format!("`destroy` took {:.1} s", destroyed.took.as_secs_f32()));
    nothing_is_left(&stage, narrator).await
}

/// Returns the version of the template in the state.
async fn version(farm: &WorkingDirectory) -> Result<u64> {
    let state = farm.state().await?;
    state["values"]["outputs"]["template"]["value"]["version"].as_u64().context("the state holds no template version")
}

async fn current_template(farm: &WorkingDirectory) -> Result<u32> {
    let state = farm.state().await?;
    let vmid = state["values"]["outputs"]["template"]["value"]["vmid"].as_u64().and_then(|vmid| vmid.try_into().ok());
    vmid.context("the state holds no template")
}

/// Checks that the plan's diff of `inputs` contains exactly the edited file.
fn shows_the_file(plan: &Plan) -> Result<()> {
    let changes = plan.json["resource_changes"].as_array().context("the plan has no changes")?;
    let template =
        changes.iter().find(|change| change["type"] == "pxci_template").context("the plan has no template")?;
    let inputs = |side: &str| template["change"][side]["inputs"].as_object().cloned().unwrap_or_default();
    let (before, after) = (inputs("before"), inputs("after"));
    let changed: Vec<&String> =
        after.iter().filter(|(path, digest)| before.get(*path) != Some(digest)).map(|(path, _)| path).collect();
    ensure!(changed == [FILE_TO_EDIT], "the plan must show that {FILE_TO_EDIT} changed, and shows {changed:?}");
    Ok(())
}

async fn nothing_is_left(stage: &Stage, narrator: &Narrator) -> Result<()> {
    let leftovers = stage.leftovers(Duration::from_secs(30)).await;
    if leftovers.is_empty() {
        narrator.say("nothing is left: no VM, container, volume, image, lock, token or runner");
        return Ok(());
    }
    leftovers.iter().for_each(|leftover| println!("still exists: {leftover}"));
    bail!("{} things still exist", leftovers.len())
}
