//! The template and storages of a pool's VMs, observed while the pool waits because its last VMs failed.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::RunnerPool;
use ownership::PoolName;
use pve::Config;

/// Divisor of a storage's size. Free space that has grown by more than that part may be room for a VM.
const GROWTH: u64 = 20;

/// Observed state of a pool's template and storages. `None` marks a part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circumstances {
    template: Option<String>,
    storages: BTreeMap<String, Option<StorageSeen>>,
}

/// Observed state of one storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StorageSeen {
    active: bool,
    free: u64,
    size: u64,
}

impl Circumstances {
    /// Reads a pool's template and the storages that its VMs use.
    pub(crate) async fn read(pve: &pve::Client, pool: &RunnerPool) -> Self {
        let node = &pool.template.node;
        let template = pve.qemu(node, pool.template.vmid).config().await.ok();
        let mut storages = BTreeMap::new();
        for name in storages_of(template.as_ref(), pool.seed_iso.as_deref()) {
            let status = pve.storage(node, &name).status().await.ok();
            let seen =
                status.map(|status| StorageSeen { active: status.active, free: status.avail, size: status.total });
            storages.insert(name, seen);
        }
        Self { template: template.and_then(|config| config.digest().map(str::to_owned)), storages }
    }

    /// Returns true if a VM that failed at the earlier observation may succeed now because of a change.
    fn may_be_better_than(&self, earlier: &Self) -> bool {
        let storage_may = |(name, now): (&String, &Option<StorageSeen>)| match (earlier.storages.get(name), now) {
            (Some(Some(then)), Some(now)) => {
                now.active && (!then.active || now.free > then.free.saturating_add(now.size / GROWTH))
            }
            (Some(None), Some(now)) => now.active,
            _ => false,
        };
        self.template.is_some() && self.template != earlier.template || self.storages.iter().any(storage_may)
    }
}

/// Returns the storages of a template's disks and of the pool's seed ISO.
fn storages_of(template: Option<&Config>, seed_iso: Option<&str>) -> BTreeSet<String> {
    let is_drive = |option: &str| {
        ["scsi", "virtio", "sata", "ide"].iter().any(|bus| {
            option
                .strip_prefix(bus)
                .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
        })
    };
    let storage = |volume: &str| volume.split_once(':').map(|(storage, _)| storage.to_owned());
    let drives = template.into_iter().flat_map(Config::iter).filter(|(option, _)| is_drive(option));
    drives.map(|(_, volume)| volume).chain(seed_iso).filter_map(storage).collect()
}

/// Pools that wait, each with the first observation of its wait.
#[derive(Debug, Default)]
pub(crate) struct CircumstanceObserver(BTreeMap<PoolName, Circumstances>);

impl CircumstanceObserver {
    /// Observes each of the waiting pools. Returns the pools for which a change makes another try worthwhile.
    pub(crate) async fn poll(&mut self, pve: &pve::Client, waiting: &[RunnerPool]) -> Vec<PoolName> {
        self.0.retain(|name, _| waiting.iter().any(|pool| pool.name == *name));
        let mut better = Vec::new();
        for pool in waiting {
            let now = Circumstances::read(pve, pool).await;
            if self.note(&pool.name, now) {
                better.push(pool.name.clone());
            }
        }
        better
    }

    /// Remembers the first observation. Returns true if a later one shows a change for the better since then.
    fn note(&mut self, pool: &PoolName, now: Circumstances) -> bool {
        match self.0.get(pool) {
            Some(first) if now.may_be_better_than(first) => {
                self.0.remove(pool);
                true
            }
            Some(_) => false,
            None => {
                self.0.insert(pool.clone(), now);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(template: Option<&str>, storage: Option<(bool, u64)>) -> Circumstances {
        let storage = storage.map(|(active, free)| StorageSeen { active, free, size: 100 });
        Circumstances { template: template.map(str::to_owned), storages: [("vms".to_owned(), storage)].into() }
    }

    fn ends(first: Circumstances, second: Circumstances) -> bool {
        let mut observer = CircumstanceObserver::default();
        let pool = "ubuntu".parse().unwrap();
        assert!(!observer.note(&pool, first));
        observer.note(&pool, second)
    }

    #[test]
    fn a_changed_template_or_a_mended_storage_ends_the_wait() {
        assert!(ends(seen(Some("a"), Some((true, 50))), seen(Some("b"), Some((true, 50)))));
        assert!(ends(seen(None, Some((true, 50))), seen(Some("a"), Some((true, 50)))));
        assert!(ends(seen(Some("a"), Some((false, 0))), seen(Some("a"), Some((true, 0)))));
        assert!(ends(seen(Some("a"), None), seen(Some("a"), Some((true, 50)))));
        assert!(ends(seen(Some("a"), Some((true, 1))), seen(Some("a"), Some((true, 40)))));
    }

    #[test]
    fn what_stays_the_same_or_gets_worse_does_not() {
        let start = || seen(Some("a"), Some((true, 50)));
        for same in [start(), seen(None, Some((true, 50))), seen(Some("a"), Some((true, 53))), seen(Some("a"), None)] {
            assert!(!ends(start(), same.clone()), "{same:?}");
        }
        assert!(!ends(start(), seen(Some("a"), Some((true, 10)))));
        assert!(!ends(start(), seen(Some("a"), Some((false, 90)))));
    }

    #[test]
    fn the_storages_are_those_of_the_disks_and_of_the_seed() {
        let json = r#"{"scsi0":"vms:9000/base-9000-disk-0.qcow2,size=1G","scsihw":"virtio-scsi-pci","ide2":"none,media=cdrom","net0":"virtio=AA:BB,bridge=vmbr0"}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        let found = storages_of(Some(&config), Some("local:iso/seed.iso"));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["local", "vms"]);
    }
}
