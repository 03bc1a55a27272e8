use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Applied, Context, zone};
use crate::command::Refusal;
use crate::config::Config;
use crate::database::{Ownership, Witnesses};
use crate::event::Event;
use crate::incident::{self, IncidentStatus, Subject};
use crate::name::ServiceName;
use crate::plan::{Epoch, Kind, PlanRecord, PlanStatus};
use crate::state::{Placement, State};

/// Replaces the whole configuration. Epochs of services that leave are kept, so that one that
/// comes back does not fall behind itself (S2).
pub(super) fn set(state: &mut State, context: &Context, parent_generation: u64, config: Config) -> Applied {
    if parent_generation != state.config_generation {
        return Err(Refusal::StaleConfig { given: parent_generation, newest: state.config_generation });
    }
    if state.config.as_deref() == Some(&config) {
        return Ok(false);
    }
    // What is only told to DNS servers is told anew by the new configuration, which may name others.
    let is_in_the_way =
        |record: &PlanRecord| record.status == PlanStatus::Running && record.plan.kind != Kind::Publish;
    if let Some(running) = state.plans.values().find(|record| is_in_the_way(record)) {
        return Err(Refusal::NotAllowed {
            detail: format!("{} is running; the configuration changes when it has ended", running.plan.id),
        });
    }
    check_primaries(state, &config)?;
    place_services(state, &config);
    place_databases(state, &config);
    state.sessions.retain(|agent, _| {
        config
            .region(&agent.region)
            .is_some_and(|region| agent.ordinal >= 1 && agent.ordinal <= region.agents)
    });
    let known: BTreeSet<_> = config.checks.iter().map(|check| &check.id).collect();
    let sessions = &state.sessions;
    state.evidence.retain(|vantage, found| {
        if found.keys().any(|check| !known.contains(check)) {
            Arc::make_mut(found).retain(|check, _| known.contains(check));
        }
        sessions.contains_key(vantage)
    });
    state.regions.retain(|name, _| config.region(name).is_some());
    state.drained.retain(|name, _| config.region(name).is_some());
    state.held.retain(|name, _| config.services.contains_key(name));
    state.config = Some(Arc::new(config));
    state.config_generation += 1;
    let seq = state.record(context, Event::ConfigChanged { generation: state.config_generation });
    close_incidents(state, seq);
    zone::rebuild(state, context);
    Ok(true)
}

/// A database that leaves the configuration is no longer ours; its instances go on as they are. One
/// that comes is adopted, or made, by whoever is granted it.
fn place_databases(state: &mut State, config: &Config) {
    let has =
        |service: &ServiceName| config.services.get(service).and_then(|wished| wished.database.as_ref());
    // One that is taken out, and comes back, is what it was: what it must not lose is not forgotten.
    state.databases.retain(|service, _| config.services.contains_key(service));
    for (service, placement) in &state.services {
        let Some(wished) = has(service) else { continue };
        let before = state.config.as_ref().and_then(|config| config.services.get(service)?.database.as_ref());
        let unowned = || Ownership::unowned(placement.epoch, state.now);
        let held = state.databases.entry(service.clone()).or_insert_with(unowned);
        held.instances.retain(|region, _| wished.instances.contains_key(region));
        let before = before.map(Witnesses::of).filter(|before| *before != Witnesses::of(wished));
        if let Some(before) = before {
            let earlier = held.before.take();
            held.before = Some(earlier.into_iter().fold(before, Witnesses::or));
            held.unsettled = Some(state.index);
            if wished.mode.acks() == 0 {
                // From now on `max_data_loss` says what may be lost.
                held.alone = None;
            }
        }
        held.longest_ttl = held.longest_ttl.max(wished.lease.ttl);
    }
}

/// A service is never orphaned by taking its primary away from under it.
fn check_primaries(state: &State, config: &Config) -> Result<(), Refusal> {
    for (service, placement) in &state.services {
        let stays = config.services.contains_key(service);
        if stays && !config.hosts(service).any(|region| region.name == placement.primary) {
            return Err(Refusal::NotAllowed {
                detail: format!(
                    "{service} has its primary in {}, which would no longer host it: `failover switchover {service} --to REGION` first",
                    placement.primary
                ),
            });
        }
    }
    Ok(())
}

/// What is no longer configured will not be heard of again.
fn close_incidents(state: &mut State, seq: u64) {
    let (services, config, now) = (&state.services, &state.config, state.now);
    let is_gone = |subject: &Subject| match subject {
        Subject::Region(name) => config.as_ref().is_none_or(|config| config.region(name).is_none()),
        Subject::Service(name) => !services.contains_key(name),
    };
    let open = state.incidents.iter().filter(|incident| incident.resolved_at.is_none());
    let gone: Vec<Subject> = open.map(|incident| incident.subject.clone()).filter(is_gone).collect();
    for subject in gone {
        let body = "no longer configured".to_owned();
        incident::update(&mut state.incidents, seq, now, &subject, IncidentStatus::Resolved, body);
    }
}

fn place_services(state: &mut State, config: &Config) {
    let now = state.now;
    let gone: Vec<ServiceName> =
        state.services.keys().filter(|service| !config.services.contains_key(*service)).cloned().collect();
    for service in gone {
        if let Some(placement) = state.services.remove(&service) {
            state.retired.insert(service, placement.epoch);
        }
    }
    // What was held of a region that hosts a service no more must not be believed when it does again.
    for (service, placement) in &mut state.services {
        let hosts: BTreeSet<_> = config.hosts(service).map(|region| &region.name).collect();
        placement.standing.retain(|region, _| hosts.contains(region));
        placement.left_out.retain(|region| hosts.contains(region));
    }
    for service in config.services.keys() {
        let Some(first) = config.hosts(service).next() else { continue };
        let retired = state.retired.remove(service).unwrap_or_default();
        state.services.entry(service.clone()).or_insert_with(|| Placement {
            primary: first.name.clone(),
            epoch: Epoch(retired.0 + 1),
            since: now,
            moved: false,
            published: 0,
            left_out: Default::default(),
            standing: Default::default(),
        });
    }
}
