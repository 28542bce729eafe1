//! The input of the decisions in one pass: facts, records, configuration and time.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::{PoolName, RepositoryName, RunnerName};

use crate::index::{GithubIndex, RecordIndex};
use crate::rivals::Rivals;
use crate::{Facts, Trouble};

/// The input of the decisions in one pass.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a Facts,
    pub(crate) github: GithubIndex<'a>,
    pub(crate) records: RecordIndex<'a>,
    /// VMs of earlier processes that are unarmed by the ledger and never answered.
    pub(crate) inherited: &'a BTreeSet<RunnerName>,
    /// True while no new VMs are made and idle ones are released.
    pub(crate) draining: bool,
    /// True while another dispatcher of this installation goes first.
    pub(crate) stands_back: bool,
    /// Other dispatchers of this installation.
    pub(crate) rivals: &'a Rivals,
    /// Failures of a pool up to this time no longer make it wait.
    pub(crate) forgiven: &'a BTreeMap<PoolName, Timestamp>,
    /// Repositories that refuse registrations.
    pub(crate) refusing: &'a BTreeMap<RepositoryName, Trouble>,
    pub(crate) now: Timestamp,
}
