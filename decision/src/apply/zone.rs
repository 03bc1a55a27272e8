use super::Context;
use crate::config::DnsProvider;
use crate::dns::RecordSet;
use crate::event::Event;
use crate::name::{DnsName, ServiceName};
use crate::plan::{Action, PlanStatus, StepStatus};
use crate::planted::{self, Bug};
use crate::records::{self, Spread};
use crate::state::State;

/// Makes every embedded zone say what the configuration, the placements and the plans that run
/// say: a stage of a gradual shift outlives whatever else changes meanwhile.
pub(super) fn rebuild(state: &mut State, context: &Context) {
    let Some(config) = state.config.clone() else { return };
    let mut wanted = records::embedded_zones(&config, state);
    for (origin, set) in shifted(state) {
        if let Some(zone) = wanted.get_mut(origin) {
            merge(&mut zone.records, set);
        }
    }
    state.zones.retain(|origin, _| wanted.contains_key(origin));
    for (origin, mut zone) in wanted {
        let held = state.zones.get(&origin);
        if held == Some(&zone) {
            continue;
        }
        let before = held.map(|held| held.records.as_slice()).unwrap_or_default();
        let set = if before == zone.records { Vec::new() } else { changed(before, &zone.records) };
        zone.generation = risen(state, zone.generation, context);
        let generation = zone.generation;
        state.zones.insert(origin.clone(), zone);
        state.record(context, Event::ZoneChanged { zone: origin, generation, set });
    }
}

fn changed(before: &[RecordSet], after: &[RecordSet]) -> Vec<RecordSet> {
    let known: std::collections::BTreeMap<_, _> =
        before.iter().map(|set| ((&set.name, set.rtype), set)).collect();
    after.iter().filter(|set| known.get(&(&set.name, set.rtype)) != Some(set)).cloned().collect()
}

/// What running plans have published so far, in the order of their steps.
fn shifted(state: &State) -> impl Iterator<Item = (&DnsName, &[RecordSet])> {
    let running = state.plans.values().filter(|record| record.status == PlanStatus::Running);
    running.flat_map(|record| {
        let done = |id| record.steps.get(id).is_some_and(|step| step.status == StepStatus::Done);
        record.plan.steps.iter().filter(move |step| done(&step.id)).filter_map(|step| match &step.action {
            Action::ShiftDns { zone, provider: DnsProvider::Embedded, set } => Some((zone, set.as_slice())),
            _ => None,
        })
    })
}

/// The names of one service say again where it is.
pub(super) fn restore(state: &mut State, context: &Context, service: &ServiceName) {
    let Some(config) = state.config.clone() else { return };
    let Some(placement) = state.services.get(service) else { return };
    let spread = Spread { primary: &placement.primary, left_out: &placement.left_out, leaving: None };
    for (origin, set) in records::of_service(&config, service, &spread) {
        shift(state, context, &origin, &set);
    }
}

/// Replaces record sets of one embedded zone; others in it stay as they are.
pub(super) fn shift(state: &mut State, context: &Context, origin: &DnsName, set: &[RecordSet]) {
    let Some(zone) = state.zones.get_mut(origin) else { return };
    let changed = merge(&mut zone.records, set);
    if changed.is_empty() {
        return;
    }
    let held = zone.generation;
    let generation = risen(state, held, context);
    if let Some(zone) = state.zones.get_mut(origin) {
        zone.generation = generation;
    }
    state.record(context, Event::ZoneChanged { zone: origin.clone(), generation, set: changed });
}

/// Gives the record sets that were not so before.
fn merge(records: &mut Vec<RecordSet>, set: &[RecordSet]) -> Vec<RecordSet> {
    let mut changed = Vec::new();
    for wanted in set {
        let held = records.iter_mut().find(|held| held.rtype == wanted.rtype && held.name == wanted.name);
        match held {
            Some(held) if held == wanted => continue,
            Some(held) => held.clone_from(wanted),
            None => records.push(wanted.clone()),
        }
        changed.push(wanted.clone());
    }
    changed
}

/// The log's index, which never falls; one more where an entry changes a zone twice, and above
/// whatever a zone that is new here may have had in an earlier life (S2).
fn risen(state: &mut State, held: u64, context: &Context) -> u64 {
    if held != 0 && planted::has(Bug::ZoneGenerationStays) {
        return held;
    }
    let floor = if held == 0 { state.zone_generation } else { held };
    let generation = context.index.max(floor + 1);
    state.zone_generation = state.zone_generation.max(generation);
    generation
}
