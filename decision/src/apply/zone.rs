use super::Context;
use crate::dns::RecordSet;
use crate::event::Event;
use crate::name::DnsName;
use crate::records;
use crate::state::State;

/// Makes every embedded zone say what the configuration and the placements say.
pub(super) fn rebuild(state: &mut State, context: &Context) {
    let Some(config) = &state.config else { return };
    let wanted = records::embedded_zones(config, state);
    state.zones.retain(|origin, _| wanted.contains_key(origin));
    for (origin, mut zone) in wanted {
        if state.zones.get(&origin) == Some(&zone) {
            continue;
        }
        zone.generation = risen(zone.generation, context.index);
        let event =
            Event::ZoneChanged { zone: origin.clone(), generation: zone.generation, set: zone.records.clone() };
        state.zones.insert(origin, zone);
        state.record(context, event);
    }
}

/// Replaces record sets of one embedded zone; others in it stay as they are.
pub(super) fn shift(state: &mut State, context: &Context, origin: &DnsName, set: &[RecordSet]) {
    let Some(zone) = state.zones.get_mut(origin) else { return };
    let before = zone.records.clone();
    for wanted in set {
        let held = zone.records.iter_mut().find(|held| held.name == wanted.name && held.rtype == wanted.rtype);
        match held {
            Some(held) => held.clone_from(wanted),
            None => zone.records.push(wanted.clone()),
        }
    }
    if zone.records == before {
        return;
    }
    zone.generation = risen(zone.generation, context.index);
    let generation = zone.generation;
    state.record(context, Event::ZoneChanged { zone: origin.clone(), generation, set: set.to_vec() });
}

/// The log's index, which never falls; one more where an entry changes a zone twice (S2).
fn risen(held: u64, index: u64) -> u64 {
    index.max(held + 1)
}
