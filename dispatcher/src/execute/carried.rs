//! Things that one step leaves for the next one on the same VM, in memory only.
//!
//! A registration is a secret and has no other place. A fresh proof saves the next step its reads (docs/adr/0025).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guest::{OwnedVm, Starting};
use ownership::RunnerName;
use secrecy::SecretString;
use tokio::time::Instant;

/// Age from which a proof is read again.
const FRESH: Duration = Duration::from_secs(3);

/// Things that steps left, by the name of the VM.
#[derive(Default)]
pub(crate) struct Carried(Mutex<Left>);

#[derive(Default)]
struct Left {
    proofs: BTreeMap<RunnerName, (OwnedVm, Instant)>,
    starts: BTreeMap<RunnerName, Starting>,
    registrations: BTreeMap<RunnerName, SecretString>,
    /// Registrations that guests were given, so that they can be masked in what the guests write.
    given: BTreeMap<RunnerName, SecretString>,
}

impl Carried {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the proof that the VM is ours.
    pub(super) fn leave_proof(&self, name: &RunnerName, vm: Option<OwnedVm>) {
        if let Some(vm) = vm {
            self.left().proofs.insert(name.clone(), (vm, Instant::now()));
        }
    }

    /// Takes the proof, if it is fresh.
    pub(super) fn take_proof(&self, name: &RunnerName) -> Option<OwnedVm> {
        let (vm, at) = self.left().proofs.remove(name)?;
        (at.elapsed() < FRESH).then_some(vm)
    }

    /// Leaves a VM that was started.
    pub(super) fn leave_start(&self, name: &RunnerName, starting: Starting) {
        self.left().starts.insert(name.clone(), starting);
    }

    /// Takes the VM that was started.
    pub(super) fn take_start(&self, name: &RunnerName) -> Option<Starting> {
        self.left().starts.remove(name)
    }

    /// Leaves a registration for the guest.
    pub(super) fn leave_registration(&self, name: &RunnerName, registration: SecretString) {
        self.left().registrations.insert(name.clone(), registration);
    }

    /// Takes the registration, which the guest is given now.
    pub(super) fn take_registration(&self, name: &RunnerName) -> Option<SecretString> {
        let mut left = self.left();
        let registration = left.registrations.remove(name)?;
        left.given.insert(name.clone(), registration.clone());
        Some(registration)
    }

    /// Returns the registration of this VM, if it was made in this process.
    pub(super) fn registration_of(&self, name: &RunnerName) -> Option<SecretString> {
        let left = self.left();
        left.given.get(name).or_else(|| left.registrations.get(name)).cloned()
    }

    /// Forgets everything about VMs that are gone.
    pub(crate) fn retain(&self, is_live: impl Fn(&RunnerName) -> bool) {
        let mut left = self.left();
        left.proofs.retain(|name, (_, at)| is_live(name) && at.elapsed() < FRESH);
        left.starts.retain(|name, _| is_live(name));
        left.registrations.retain(|name, _| is_live(name));
        left.given.retain(|name, _| is_live(name));
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Carried").finish_non_exhaustive()
    }
}
