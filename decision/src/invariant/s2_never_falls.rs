//! S2: epochs and generations never fall, nor does time; not even for what leaves the
//! configuration and comes back.

use super::Found;
use crate::plan::Epoch;
use crate::state::State;

pub(super) fn check(before: &State, after: &State, found: &mut Found) {
    let numbers = [
        ("the index", before.index, after.index),
        ("time", before.now.0, after.now.0),
        ("the configuration's generation", before.config_generation, after.config_generation),
        ("the number of plans", before.last_plan, after.last_plan),
        ("the highest zone generation", before.zone_generation, after.zone_generation),
        ("the journal", before.journal.last_seq(), after.journal.last_seq()),
    ];
    for (what, was, is) in numbers {
        found.unless(is >= was, "S2", || format!("{what} fell from {was} to {is}"));
    }
    for (service, was) in epochs(before) {
        let is = epochs(after).find(|(name, _)| *name == service).map(|(_, epoch)| epoch);
        found.unless(is >= Some(was), "S2", || format!("the epoch of {service} fell from {was} to {is:?}"));
    }
    for (service, held) in &after.databases {
        let placed = after.services.get(service).map_or(Epoch(0), |placement| placement.epoch);
        found.unless(held.epoch <= placed, "S2", || {
            format!("the lease of {service} is at {}, ahead of the service's own {placed}", held.epoch)
        });
        let was = before.databases.get(service).map_or(Epoch(0), |held| held.epoch);
        found.unless(held.epoch >= was, "S2", || {
            format!("the lease of {service} fell from {was} to {}", held.epoch)
        });
    }
    for (origin, zone) in &after.zones {
        let floor = before.zones.get(origin).map_or(0, |zone| zone.generation);
        let same = before.zones.get(origin) == Some(zone);
        found.unless(same || zone.generation > floor, "S2", || {
            format!("zone {origin} changed, but its generation went from {floor} to {}", zone.generation)
        });
        let is_new = !before.zones.contains_key(origin);
        found.unless(!is_new || zone.generation > before.zone_generation, "S2", || {
            format!("zone {origin} began at generation {}, which may have been before", zone.generation)
        });
    }
}

fn epochs(state: &State) -> impl Iterator<Item = (&crate::name::ServiceName, Epoch)> {
    let placed = state.services.iter().map(|(service, placement)| (service, placement.epoch));
    placed.chain(state.retired.iter().map(|(service, epoch)| (service, *epoch)))
}
