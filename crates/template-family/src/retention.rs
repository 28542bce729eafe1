//! The choice of versions to remove.

use ownership::{Build, Vmid};

use crate::version::Version;

/// Returns the VMIDs of the versions to remove, oldest first: all except the newest `keep` verified versions. `current`
/// always stays. `before`, the version that was current before this apply, stays too, because the dispatcher gets the
/// new VMID only later in the same apply.
#[must_use]
pub fn to_remove(versions: &[Version], keep: usize, current: Vmid, before: Option<Vmid>) -> Vec<Vmid> {
    let spared = |version: &&Version| version.vmid == current || Some(version.vmid) == before;
    let verified = |version: &&Version| version.is_template && version.build == Build::Ready;
    let mut newest: Vec<&Version> = versions.iter().filter(verified).collect();
    newest.sort_by_key(|version| std::cmp::Reverse((version.vmid == current, version.number)));
    let kept: Vec<Vmid> = newest.iter().take(keep.max(1)).map(|version| version.vmid).collect();
    versions
        .iter()
        .filter(|version| !spared(version) && version.build != Build::Building && !kept.contains(&version.vmid))
        .map(|version| version.vmid)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::tests::{id, version};

    #[test]
    fn the_newest_versions_stay() {
        let versions: Vec<Version> = (1..=4).map(|number| version(number, Build::Ready)).collect();
        assert_eq!(to_remove(&versions, 2, id(9004), None), [id(9001), id(9002)]);
        assert_eq!(to_remove(&versions, 9, id(9004), None), []);
    }

    #[test]
    fn the_version_before_this_apply_stays_even_if_only_one_is_kept() {
        let versions: Vec<Version> = (1..=3).map(|number| version(number, Build::Ready)).collect();
        assert_eq!(to_remove(&versions, 1, id(9003), Some(id(9002))), [id(9001)]);
        assert_eq!(to_remove(&versions, 0, id(9003), None), [id(9001), id(9002)]);
    }

    #[test]
    fn an_older_version_that_is_current_again_counts_as_the_newest() {
        let versions: Vec<Version> = (1..=3).map(|number| version(number, Build::Ready)).collect();
        assert_eq!(to_remove(&versions, 2, id(9001), Some(id(9003))), [id(9002)]);
    }

    #[test]
    fn retired_versions_are_removed_and_unfinished_versions_are_left_alone() {
        let versions = [version(1, Build::Retired), version(2, Build::Ready), version(3, Build::Building)];
        assert_eq!(to_remove(&versions, 2, id(9002), None), [id(9001)]);
    }
}
