//! What a pool's VMs are made from and on, while the pool waits because its last VMs failed: its template and the storages.

use std::collections::{BTreeMap, BTreeSet};

use dispatcher_api::RunnerPool;
use ownership::PoolName;
use pve::Config;

/// Free space that has grown by more than one part in this many of the storage's size may be room for a VM.
const GROWTH: u64 = 20;

/// What was seen of a pool's template and storages. `None`: it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circumstances {
    template: Option<String>,
    storages: BTreeMap<String, Option<StorageSeen>>,
}

/// What was seen of one storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StorageSeen {
    active: bool,
    free: u64,
    size: u64,
}

impl Circumstances {
    /// Looks at a pool's template and at the storages that its VMs use.
    pub(crate) async fn look(pve: &pve::Client, pool: &RunnerPool) -> Self {
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

    /// Whether something changed since an earlier look so that a VM may succeed now that failed then.
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

/// Storages of a template's disks, and of the pool's seed.
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

/// Pools that wait, each with the first look since it does.
#[derive(Debug, Default)]
pub(crate) struct CircumstanceObserver(BTreeMap<PoolName, Circumstances>);

impl CircumstanceObserver {
    /// One look at each of the waiting pools. Returns those whose circumstances changed so that another try is worth it.
    pub(crate) async fn look(&mut self, pve: &pve::Client, waiting: &[RunnerPool]) -> Vec<PoolName> {
        self.0.retain(|name, _| waiting.iter().any(|pool| pool.name == *name));
        let mut better = Vec::new();
        for pool in waiting {
            let now = Circumstances::look(pve, pool).await;
            if self.note(&pool.name, now) {
                better.push(pool.name.clone());
            }
        }
        better
    }

    /// Remembers a look; returns whether it shows a change for the better since the first one.
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
