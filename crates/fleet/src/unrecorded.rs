//! Guests and VMIDs without a record: what was found out about them, so that Proxmox VE need not be asked again in each poll.
//!
//! A VMID can be taken although Proxmox VE does not show its guest: a token with rights in one resource pool sees neither foreign
//! guests nor a clone that is still being made. After a lost ledger such a VMID may be a clone of ours, and keeps its slot then.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use ownership::Vmid;
use serde::{Deserialize, Serialize};

use crate::{Claim, Fleet, Guests};

/// Time for which it is believed that a guest is not ours.
const FOREIGN_BELIEVED: SignedDuration = SignedDuration::from_mins(5);
/// A linked clone takes seconds, and waits for locks no longer than this.
pub(crate) const LONGEST_CLONE: SignedDuration = SignedDuration::from_secs(120);
/// Longest time between two questions about a hidden VMID.
const HIDDEN_AT_MOST: SignedDuration = SignedDuration::from_mins(5);

/// Questions that the next poll of Proxmox VE's guests answers beside the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestQuestions {
    /// VMIDs to ask about unless the list shows a guest there.
    pub vmids: BTreeSet<Vmid>,
    /// VMIDs that are clones of ours in the making if they are taken, the list shows no guest there, and clones run.
    pub may_be_clones: BTreeSet<Vmid>,
    /// Names of the guests without a record that were found to be foreign a short time ago. A guest of that VMID and name need not be
    /// asked about.
    pub foreign: BTreeMap<Vmid, Option<String>>,
}

/// The memory of guests and VMIDs without a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Unrecorded {
    /// True if more VMs may exist than have a record, because the ledger had no history at the start.
    pub(crate) needs_census: bool,
    /// True once each VMID of the ranges was asked about.
    pub(crate) has_census: bool,
    /// VMIDs that are taken although Proxmox VE does not show their guests.
    pub(crate) hidden: BTreeMap<Vmid, Hidden>,
    /// Guests that are not ours.
    pub(crate) foreign: BTreeMap<Vmid, Foreign>,
}

/// Times at which a VMID was found taken although Proxmox VE did not show its guest, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Hidden {
    pub(crate) since: Timestamp,
    pub(crate) asked_at: Timestamp,
}

/// A guest that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Foreign {
    name: Option<String>,
    /// Time at which its configuration was read.
    since: Timestamp,
}

impl Hidden {
    /// Returns true if the VMID may belong to a clone of ours that is still being made.
    fn may_be_clone(self, now: Timestamp) -> bool {
        now.duration_since(self.since) < LONGEST_CLONE
    }

    /// Returns true if it is time to ask about the VMID. The interval grows with the time since the VMID was found.
    fn is_due(self, now: Timestamp) -> bool {
        now.duration_since(self.asked_at) >= (self.asked_at.duration_since(self.since) / 2).min(HIDDEN_AT_MOST)
    }
}

impl Foreign {
    fn is_believed(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) < FOREIGN_BELIEVED
    }
}

impl Unrecorded {
    /// Forgets everything, because the configuration is another one.
    pub(crate) fn start_over(&mut self) {
        *self = Self { needs_census: self.needs_census, ..Self::default() };
    }

    /// Takes a list of guests and the answers that came with it. `has_record` says which VMIDs have a live record.
    pub(crate) fn take(&mut self, guests: &Guests, has_record: impl Fn(Vmid) -> bool) {
        let now = guests.taken_at;
        let is_shown = |vmid: Vmid| guests.seen.contains_key(&vmid) || has_record(vmid);
        self.hidden.retain(|vmid, _| !is_shown(*vmid) && !guests.unshown.free.contains(vmid));
        for vmid in guests.unshown.occupied.iter().copied().filter(|vmid| !is_shown(*vmid)) {
            self.hidden.entry(vmid).or_insert(Hidden { since: now, asked_at: now }).asked_at = now;
        }
        self.has_census |= self.needs_census && guests.unshown.is_complete;
        self.foreign.retain(|vmid, _| guests.seen.contains_key(vmid));
        for (vmid, guest) in guests.seen.iter().filter(|(_, guest)| guest.claim == Claim::Foreign) {
            let is_known = |foreign: &Foreign| foreign.name == guest.name && foreign.is_believed(now);
            if !self.foreign.get(vmid).is_some_and(is_known) {
                self.foreign.insert(*vmid, Foreign { name: guest.name.clone(), since: now });
            }
        }
    }

    /// Returns the hidden VMIDs, and of those the ones that may be clones of ours in the making. They keep their slots.
    pub(crate) fn hidden(&self, guests: &Guests) -> (BTreeSet<Vmid>, BTreeSet<Vmid>) {
        let is_clone = |hidden: &Hidden| guests.unshown.clones_run && hidden.may_be_clone(guests.taken_at);
        let clones = self.hidden.iter().filter(|(_, hidden)| is_clone(hidden)).map(|(vmid, _)| *vmid);
        (self.hidden.keys().copied().collect(), clones.collect())
    }
}

impl Fleet {
    /// Returns the same fleet, whose ledger had no history at its start: more VMs may exist than have a record.
    #[must_use]
    pub fn without_history(mut self) -> Self {
        self.unrecorded.needs_census = true;
        self
    }

    /// Returns the questions that the next poll of Proxmox VE's guests answers: about all VMIDs once, if the ledger had no history,
    /// and about each hidden VMID until it is free.
    #[must_use]
    pub fn guest_questions(&self, config: &Config, now: Timestamp) -> GuestQuestions {
        let Unrecorded { hidden, foreign, .. } = &self.unrecorded;
        let (needs_census, has_census) = (self.unrecorded.needs_census, self.unrecorded.has_census);
        let has_record: BTreeSet<Vmid> =
            self.records.values().filter(|intent| intent.is_live()).map(|intent| intent.vmid).collect();
        let vmids: BTreeSet<Vmid> = if needs_census && !has_census {
            let ranges = config.pools.iter().flat_map(|pool| pool.vmid_range.iter());
            ranges.filter(|vmid| !has_record.contains(vmid)).collect()
        } else {
            hidden.iter().filter(|(_, hidden)| hidden.is_due(now)).map(|(vmid, _)| *vmid).collect()
        };
        let is_new = vmids.iter().copied().filter(|vmid| !hidden.contains_key(vmid));
        let is_young = hidden.iter().filter(|(_, hidden)| hidden.may_be_clone(now)).map(|(vmid, _)| *vmid);
        let foreign = foreign.iter().filter(|(_, foreign)| foreign.is_believed(now));
        GuestQuestions {
            may_be_clones: is_young.chain(is_new).collect(),
            vmids,
            foreign: foreign.map(|(vmid, foreign)| (*vmid, foreign.name.clone())).collect(),
        }
    }
}
