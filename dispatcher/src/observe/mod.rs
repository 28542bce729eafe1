//! What there is, at PVE and at GitHub. Looks, and never acts.
//!
//! PVE's cheap list shows everything and lags by up to ten seconds; single guests are confirmed only where the list's word would lead
//! to a decision. GitHub is asked with conditional requests, which cost nothing while nothing changes.

mod circumstances;
mod guests;
mod repositories;

pub(crate) use circumstances::CircumstanceObserver;
pub(crate) use guests::{GuestObserver, GuestQuestion, ObserveError};
pub(crate) use repositories::{RepositoryObserver, RepositoryQuestion};
