//! Facts from PVE and GitHub. Observers ask and never act, and keep caches only.
//!
//! PVE's cheap list shows everything and lags by up to ten seconds; single guests are confirmed only where the list would lead
//! to a decision. GitHub is asked with conditional requests, which cost nothing while nothing changes.

mod circumstances;
mod guests;
mod repositories;
mod schedule;

use circumstances::CircumstanceObserver;
use guests::{GuestObserver, GuestQuestion, ObserveError};
use repositories::{RepositoryObserver, RepositoryQuestion};
pub(crate) use schedule::{Poll, Polls};
