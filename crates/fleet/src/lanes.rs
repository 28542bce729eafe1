//! Lanes: how many effects of one kind run at a time.
//!
//! The API of Proxmox VE is a small resource, and clones queue on one lock for each storage. A lane is narrow enough for that.
//! Within a lane, one pool leaves room for the others, so that a pool whose guests hang holds up only itself.

use std::collections::BTreeMap;

use ownership::{NodeName, PoolName, RepositoryName, Vmid};

use crate::{Effect, Intent, Step};

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane<'a> {
    /// Clones of one template, which lock its storage.
    Clones(Vmid),
    /// Starts, stops and destructions on one node.
    Power(&'a NodeName),
    /// Configurations on one node, and questions to guests.
    Guests(&'a NodeName),
    /// Requests to GitHub that concern one repository.
    Github(&'a RepositoryName),
}

/// Width of a lane.
#[derive(Debug, Clone, Copy)]
struct Width {
    /// Effects at a time.
    all: usize,
    /// Effects of one pool at a time.
    of_pool: usize,
}

impl Lane<'_> {
    fn width(&self) -> Width {
        match self {
            Self::Clones(_) => Width { all: 2, of_pool: 2 },
            Self::Power(_) => Width { all: 4, of_pool: 3 },
            Self::Guests(_) => Width { all: 6, of_pool: 4 },
            Self::Github(_) => Width { all: 4, of_pool: 4 },
        }
    }
}

/// Returns the lane of a step on a VM; `None` for a step that only waits.
fn lane<'a>(intent: &'a Intent, step: &'a Step) -> Option<Lane<'a>> {
    Some(match step {
        Step::Clone { .. } => Lane::Clones(intent.template),
        Step::Start | Step::Stop { .. } | Step::Destroy => Lane::Power(&intent.node),
        Step::Configure | Step::Arm | Step::Examine | Step::Watch | Step::Probe | Step::KeepDiagnostics => {
            Lane::Guests(&intent.node)
        }
        Step::Mint { repository } => Lane::Github(repository),
        Step::Deregister => Lane::Github(intent.life.repository.as_ref()?),
        // Its requests are rare, and each waits for its turn at the node.
        Step::AwaitAgent => return None,
        Step::DestroyLent { .. } | Step::RemoveRegistration { .. } => return lane_without_record(step),
    })
}

/// Returns the lane of a step that needs no record.
fn lane_without_record(step: &Step) -> Option<Lane<'_>> {
    match step {
        Step::DestroyLent { node, .. } => Some(Lane::Power(node)),
        Step::RemoveRegistration { repository, .. } => Some(Lane::Github(repository)),
        _ => None,
    }
}

/// The lanes with what runs in them.
#[derive(Debug, Default)]
pub(crate) struct Lanes<'a> {
    running: BTreeMap<Lane<'a>, Running<'a>>,
}

/// Number of effects in a lane.
#[derive(Debug, Default)]
struct Running<'a> {
    all: usize,
    pools: BTreeMap<&'a PoolName, usize>,
}

impl<'a> Lanes<'a> {
    /// Counts an effect that is under way.
    pub(crate) fn occupy(&mut self, intent: &'a Intent, effect: &'a Effect) {
        if let Some(lane) = lane(intent, &effect.step) {
            self.add(lane, &intent.pool);
        }
    }

    /// Counts an effect without a record that is under way.
    pub(crate) fn occupy_without_record(&mut self, effect: &'a Effect) {
        if let Some(lane) = lane_without_record(&effect.step) {
            self.running.entry(lane).or_default().all += 1;
        }
    }

    /// Counts the step if there is room for it. Returns false if there is none.
    pub(crate) fn enter(&mut self, intent: &'a Intent, step: &'a Step) -> bool {
        let Some(lane) = lane(intent, step) else { return true };
        let width = lane.width();
        let running = self.running.entry(lane.clone()).or_default();
        let of_pool = running.pools.get(&intent.pool).copied().unwrap_or_default();
        if running.all >= width.all || of_pool >= width.of_pool {
            return false;
        }
        self.add(lane, &intent.pool);
        true
    }

    /// Counts the effect, which has no record, if there is room for it. Returns false if there is none.
    pub(crate) fn enter_without_record(&mut self, effect: &'a Effect) -> bool {
        let Some(lane) = lane_without_record(&effect.step) else { return true };
        let width = lane.width();
        let running = self.running.entry(lane).or_default();
        let has_room = running.all < width.all;
        running.all += usize::from(has_room);
        has_room
    }

    fn add(&mut self, lane: Lane<'a>, pool: &'a PoolName) {
        let running = self.running.entry(lane).or_default();
        running.all += 1;
        *running.pools.entry(pool).or_default() += 1;
    }
}
