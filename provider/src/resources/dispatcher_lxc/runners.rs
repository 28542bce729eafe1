//! The runner VMs of a dispatcher, and the VMIDs of its pools.

use ownership::{RunnerName, Vmid, VmidRange};
use pve::{Error, GuestKind};

use super::model::{Dispatcher, KnownDispatcher, vmid};
use crate::clients::Clients;

/// Returns the runner VMs of the dispatcher that still exist, each with its VMID and name.
pub(crate) async fn remaining(clients: &Clients, model: &KnownDispatcher) -> Result<Vec<(Vmid, RunnerName)>, Error> {
    let ranges: Vec<VmidRange> = model.pools.values().filter_map(|pool| pool.vmid_range.parse().ok()).collect();
    let guests = clients.pve.guests().await?;
    let parsed = |name: Option<String>| RunnerName::parse(&clients.installation, &name?).ok();
    let left = guests.into_iter().filter(|guest| guest.kind == GuestKind::Qemu && !guest.template);
    let left = left.filter(|guest| ranges.iter().any(|range| range.contains(guest.vmid)));
    Ok(left.filter_map(|guest| Some((guest.vmid, parsed(guest.name)?))).collect())
}

/// Returns the name of a pool whose VMIDs overlap those of the container.
pub(crate) fn overlapping_pool(model: &Dispatcher) -> Option<String> {
    let own = match (model.vmid_range.text(), vmid(&model.vmid)) {
        (Some(text), _) => text.parse().ok()?,
        (None, Some(vmid)) => VmidRange::single(vmid),
        (None, None) => return None,
    };
    let overlaps = |text: &str| text.parse::<VmidRange>().is_ok_and(|range| range.overlaps(own));
    let pools = model.pools.known()?;
    pools.iter().find(|(_, pool)| pool.vmid_range.text().is_some_and(overlaps)).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::super::model::Pool;
    use super::*;

    #[test]
    fn a_pool_in_the_containers_own_range_is_found() {
        let pool = |range: &str| Pool { vmid_range: range.into(), ..Default::default() };
        let mut model = Dispatcher { vmid_range: "8100-8109".into(), ..Dispatcher::default() };
        model.pools = std::collections::BTreeMap::from([
            ("a".to_owned(), pool("9100-9199")),
            ("b".to_owned(), pool("8105-8200")),
        ])
        .into();
        assert_eq!(overlapping_pool(&model).as_deref(), Some("b"));
    }
}
