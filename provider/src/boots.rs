//! Boot times of the guests of each template, learnt within one apply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use guest::{BootTimes, Booted, OwnedVm, RunnerVm};
use ownership::Vmid;

/// Boot times by template.
#[derive(Debug, Clone, Default)]
pub(crate) struct Boots(Arc<Mutex<HashMap<Option<Vmid>, BootTimes>>>);

impl Boots {
    /// Boots a VM and remembers how long it took. `known` is the VM as the step before proved it.
    ///
    /// # Errors
    /// Those of [`RunnerVm::boot`].
    pub(crate) async fn boot(
        &self,
        vm: &RunnerVm,
        known: Option<OwnedVm>,
        limit: Duration,
    ) -> Result<(), guest::Error> {
        let booted = vm.boot(known, self.first_question(vm), limit).await?;
        if let Some(booted) = booted {
            self.learn(vm, booted);
        }
        Ok(())
    }

    fn first_question(&self, vm: &RunnerVm) -> Duration {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(&vm.template()).cloned().unwrap_or_default().first_question()
    }

    fn learn(&self, vm: &RunnerVm, booted: Booted) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.entry(vm.template()).or_default().learn(booted);
    }
}
