//! Changing, stopping and destroying a guest that may be ours, in repeated attempts.
//!
//! ```text
//! each attempt: read configuration and pool, prove → act once ─┬─ success, or the guest is gone
//!       ▲                                                      ├─ locked, changed meanwhile, reply lost
//!       └────────────────────── pause ─────────────────────────┘
//! ```

use ownership::Marker;

use crate::kind::Kind;
use crate::{Candidate, Error, OwnedGuest, Problem};

impl<G: Kind> Candidate<G> {
    /// Stops the guest, after the proof that it is ours. Succeeds if it is stopped already or no longer exists.
    ///
    /// # Errors
    /// [`Problem::NotOurs`] and [`Problem::OtherIncarnation`] if the guest is not ours. It is left alone.
    pub async fn stop(&self) -> Result<(), Error> {
        let stopped = self.attempt("stop", None, is_passing, |guest| async move { guest.stop_now().await }).await;
        match stopped {
            Err(error) if error.is_gone() => Ok(()),
            outcome => outcome,
        }
    }

    /// Destroys the stopped guest with its disks. Succeeds if it no longer exists.
    ///
    /// # Errors
    /// [`Problem::StillRunning`]; [`Problem::BaseInUse`]; [`Problem::NotOurs`] and [`Problem::OtherIncarnation`] if the
    /// guest is not ours. It is left alone in all these cases.
    pub async fn destroy(&self) -> Result<(), Error> {
        let destroyed = self.attempt("destroy", None, is_passing, |guest| async move {
            match guest.delete_now().await {
                // PVE checks this itself before it changes anything.
                Err(Problem::Pve(error)) if error.is_running() => Err(Problem::StillRunning),
                Err(Problem::Pve(error)) if error.is_base_in_use() => Err(Problem::BaseInUse),
                outcome => outcome,
            }
        });
        match destroyed.await {
            Err(error) if error.is_gone() => Ok(()),
            outcome => outcome,
        }
    }

    /// Stops the guest and destroys it. Succeeds if it no longer exists.
    ///
    /// # Errors
    /// Those of [`Candidate::stop`] and [`Candidate::destroy`].
    pub async fn remove(&self) -> Result<(), Error> {
        self.stop().await?;
        self.destroy().await
    }

    /// Sets the options that `wanted` returns for the guest as it was proved. An empty list changes nothing.
    ///
    /// # Errors
    /// [`Problem::NotOurs`] and [`Problem::OtherIncarnation`] if the guest is not ours. It is left alone.
    pub async fn change(&self, wanted: impl Fn(&OwnedGuest<G>) -> Vec<(&'static str, String)>) -> Result<(), Error> {
        self.change_known(None, wanted).await.map(drop)
    }

    /// Changes like [`Candidate::change`]. The first attempt may use the proof of the step before, which is `known`.
    /// Returns the guest as it was proved for the attempt that succeeded. PVE compared the digest of that proof with
    /// the configuration, so the guest was still ours at the change.
    pub(crate) async fn change_known(
        &self,
        known: Option<OwnedGuest<G>>,
        wanted: impl Fn(&OwnedGuest<G>) -> Vec<(&'static str, String)>,
    ) -> Result<OwnedGuest<G>, Error> {
        let wanted = &wanted;
        let change = |guest: OwnedGuest<G>| async move {
            let wanted = wanted(&guest);
            if !wanted.is_empty() {
                let options: Vec<(&str, &str)> = wanted.iter().map(|(key, value)| (*key, value.as_str())).collect();
                guest.change(&options).await?;
            }
            Ok(guest)
        };
        self.attempt("configure", known, is_busy, change).await
    }

    /// Rewrites the marker. The other lines of the description stay.
    ///
    /// # Errors
    /// Those of [`Candidate::change`].
    pub async fn mark(&self, edit: impl Fn(&mut Marker)) -> Result<(), Error> {
        self.change(|guest| {
            let Some(found) = guest.marker() else { return Vec::new() };
            let mut marker = found.clone();
            edit(&mut marker);
            if marker == *found {
                return Vec::new();
            }
            vec![("description", marker.replace_in(guest.config().description()))]
        })
        .await
    }
}

/// Returns true if another attempt may succeed because the guest was locked or changed.
pub(crate) fn is_busy(problem: &Problem) -> bool {
    match problem {
        // A guest that was proved and is missing now is gone or was moved. The next proof finds out.
        Problem::Pve(error) => error.is_locked() || error.is_digest_conflict() || error.is_guest_missing(),
        Problem::Unseen => true,
        _ => false,
    }
}

/// Returns true if another attempt to end a guest may succeed. A lost reply leaves open whether the request was carried
/// out, and the proof of the next attempt finds out.
fn is_passing(problem: &Problem) -> bool {
    let may_be_done = |error: &pve::Error| error.is_transient() && !error.is_not_carried_out();
    is_busy(problem) || matches!(problem, Problem::Pve(error) if error.is_protected() || may_be_done(error))
}
