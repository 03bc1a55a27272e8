use super::{Applied, Context, zone};
use crate::command::Refusal;
use crate::config::Config;
use crate::event::Event;
use crate::name::ServiceName;
use crate::plan::{Epoch, PlanStatus};
use crate::state::{Placement, State};

/// Replaces the whole configuration. Epochs of services that leave are kept, so that one that
/// comes back does not fall behind itself (S2).
pub(super) fn set(state: &mut State, context: &Context, parent_generation: u64, config: Config) -> Applied {
    if parent_generation != state.config_generation {
        return Err(Refusal::StaleConfig { given: parent_generation, newest: state.config_generation });
    }
    if state.config.as_ref() == Some(&config) {
        return Ok(false);
    }
    if let Some(running) = state.plans.values().find(|record| record.status == PlanStatus::Running) {
        return Err(Refusal::NotAllowed {
            detail: format!("{} is running; the configuration changes when it has ended", running.plan.id),
        });
    }
    check_primaries(state, &config)?;
    place_services(state, &config);
    state.sessions.retain(|agent, _| {
        config.region(&agent.region).is_some_and(|region| agent.ordinal >= 1 && agent.ordinal <= region.agents)
    });
    let known: std::collections::BTreeSet<_> = config.checks.iter().map(|check| &check.id).collect();
    let sessions = &state.sessions;
    state.evidence.retain(|vantage, found| {
        found.retain(|check, _| known.contains(check));
        sessions.contains_key(vantage)
    });
    state.regions.retain(|name, _| config.region(name).is_some());
    state.drained.retain(|name, _| config.region(name).is_some());
    state.config = Some(config);
    state.config_generation += 1;
    state.record(context, Event::ConfigChanged { generation: state.config_generation });
    zone::rebuild(state, context);
    Ok(true)
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

fn place_services(state: &mut State, config: &Config) {
    let now = state.now;
    let gone: Vec<ServiceName> =
        state.services.keys().filter(|service| !config.services.contains_key(*service)).cloned().collect();
    for service in gone {
        if let Some(placement) = state.services.remove(&service) {
            state.retired.insert(service, placement.epoch);
        }
    }
    for service in config.services.keys() {
        let Some(first) = config.hosts(service).next() else { continue };
        let retired = state.retired.remove(service).unwrap_or_default();
        state.services.entry(service.clone()).or_insert_with(|| Placement {
            primary: first.name.clone(),
            epoch: Epoch(retired.0 + 1),
            since: now,
            left_out: Default::default(),
            standing: Default::default(),
        });
    }
}
