//! The pace of virtual time: held, stepped, or running at a chosen speed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Control, Problem};
use sim_github::ServerHandle;
use sim_pve::Handle;

/// Interval at which running time advances.
const INTERVAL: Duration = Duration::from_millis(20);

/// Deadline for the end of a step. Later something is at work that does not end.
const DEADLINE: Duration = Duration::from_secs(30);

/// Longest step: a week.
pub(super) const MAX_STEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Error of a step that did not end, because something was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time cannot pass: a request, a task or a guest is at work and does not end")]
pub struct StepTimedOut;

/// The time of both simulators.
pub(super) struct Pace {
    stepper: Arc<Stepper>,
    /// Virtual seconds per real second; 0 if time stands still.
    speed: watch::Sender<f64>,
    runner: Option<JoinHandle<()>>,
}

struct Stepper {
    pve: Arc<Handle>,
    github: Arc<ServerHandle>,
    /// Lock for one step at a time.
    step_lock: Mutex<()>,
}

impl Pace {
    pub(super) fn new(pve: Arc<Handle>, github: Arc<ServerHandle>) -> Self {
        let stepped = pve.is_stepped();
        let stepper = Arc::new(Stepper { pve, github, step_lock: Mutex::default() });
        let speed = watch::Sender::new(0.0);
        let runner = stepped.then(|| tokio::spawn(run(Arc::clone(&stepper), speed.subscribe())));
        Self { stepper, speed, runner }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if let Some(runner) = &self.runner {
            runner.abort();
        }
    }
}

async fn run(stepper: Arc<Stepper>, mut speed: watch::Receiver<f64>) {
    loop {
        let Ok(factor) = speed.wait_for(|speed| *speed > 0.0).await.map(|speed| *speed) else { return };
        let began = Instant::now();
        tokio::select! {
            changed = speed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(INTERVAL) => {}
        }
        // A short pause, in which running tasks can continue before the next interval.
        stepper.pass(began.elapsed().mul_f64(factor)).await;
    }
}

impl Stepper {
    /// Lets time pass for both simulators, so that each receives the other's events at the right time.
    async fn pass(&self, time: Duration) {
        let _turn = self.step_lock.lock().await;
        let end = self.pve.now().saturating_add(time);
        while self.pve.now() < end {
            let left = end.saturating_sub(self.pve.now());
            let until_github =
                self.github.inspect(|world, now| world.next_deadline()?.duration_since(now).try_into().ok());
            let slice = until_github.filter(|until: &Duration| !until.is_zero()).map_or(left, |until| until.min(left));
            self.pve.pass(slice).await;
            self.github.world(|_, _| ());
        }
    }
}

impl Control {
    /// Lets time pass, and returns when everything that became due has happened.
    ///
    /// # Errors
    /// When something is still at work after half a minute.
    pub async fn step(&self, time: Duration) -> Result<(), StepTimedOut> {
        tokio::time::timeout(DEADLINE, self.pace.stepper.pass(time)).await.map_err(|_| StepTimedOut)
    }

    /// Stops time until it is stepped or runs again.
    pub fn hold(&self) {
        self.pace.speed.send_replace(0.0);
    }

    /// Lets time run with this number of virtual seconds per real second.
    pub fn run(&self, speed: f64) {
        self.pace.speed.send_replace(speed.max(0.0));
    }

    /// Returns the kind of time, the present time and its speed.
    #[must_use]
    pub fn clock(&self) -> Value {
        let elapsed = self.pve().now().as_secs_f64();
        if !self.pve().is_stepped() {
            return json!({ "mode": "real", "elapsed": elapsed, "speed": 1.0 });
        }
        let speed = *self.pace.speed.borrow();
        json!({ "mode": if speed > 0.0 { "running" } else { "held" }, "elapsed": elapsed, "speed": speed })
    }

    pub(super) fn needs_stepped_time(&self) -> Result<(), Problem> {
        if self.pve().is_stepped() {
            return Ok(());
        }
        let what = "this simulator runs on real time, which cannot be held, stepped or run at another speed";
        Err(Problem::new(409, what).allowing("a simulator on virtual time: `cargo xtask sim --virtual-time`"))
    }
}
