//! Plans that a person asks for. They obey the same rules on targets, but neither the limits on
//! moves nor a pause.

use super::make::{Wish, plan};
use super::{Round, database, eligible};
use crate::command::Refusal;
use crate::explain::Rejected;
use crate::name::{RegionName, ServiceName};
use crate::plan::{Kind, Plan};
use crate::state::State;
use crate::time::Time;
use crate::verdict::Verdict;

/// A planned move of `service` to `to`, or to the best region when none is named.
pub fn switchover(
    state: &State,
    now: Time,
    service: &ServiceName,
    to: Option<&RegionName>,
    reason: String,
) -> Result<Plan, Refusal> {
    make(state, now, service, to, Wanted::Switchover, reason)
}

/// As [`switchover`] where there is no database: nothing is demanded of the region that is left.
pub(super) fn forced(
    state: &State,
    now: Time,
    service: &ServiceName,
    to: Option<&RegionName>,
    reason: String,
) -> Result<Plan, Refusal> {
    make(state, now, service, to, Wanted::Failover, reason)
}

enum Wanted {
    Switchover,
    Failback,
    Failover,
}

/// A planned move home: to the first region that hosts it.
pub fn failback(state: &State, now: Time, service: &ServiceName, reason: String) -> Result<Plan, Refusal> {
    let config = state.config.as_deref().ok_or(Refusal::NotConfigured)?;
    let home = config
        .hosts(service)
        .next()
        .ok_or_else(|| Refusal::Unknown { what: format!("region that hosts {service}") })?;
    make(state, now, service, Some(&home.name), Wanted::Failback, reason)
}

fn make(
    state: &State,
    now: Time,
    service: &ServiceName,
    to: Option<&RegionName>,
    wanted: Wanted,
    reason: String,
) -> Result<Plan, Refusal> {
    let config = state.config.as_deref().ok_or(Refusal::NotConfigured)?;
    let placement =
        state.services.get(service).ok_or_else(|| Refusal::Unknown { what: format!("service {service}") })?;
    if let Some(open) = state.open_plan(service) {
        return Err(Refusal::PlanOpen { service: service.clone(), open: open.plan.id });
    }
    let from = &placement.primary;
    if let Some(why) = database::no_hand_over(state, service) {
        return Err(Refusal::NotAllowed {
            detail: format!("{why}; `failover failover {service}` does not ask for it"),
        });
    }
    let mut round = Round::default();
    let to = match to {
        Some(name) => {
            let region =
                config.region(name).ok_or_else(|| Refusal::Unknown { what: format!("region {name}") })?;
            if name == from {
                return Err(Refusal::NotAllowed { detail: format!("{service} is in {name} already") });
            }
            if let Some(why) = eligible::obstacle(&mut round, config, state, service, region, now) {
                return Err(Refusal::NotAllowed { detail: format!("{name} cannot take {service}: {why}") });
            }
            name
        }
        None => {
            let (eligible, rejected) = eligible::candidates(&mut round, config, state, service, from, now);
            match eligible.first() {
                Some(region) => &region.name,
                None => {
                    let why: Vec<String> = rejected
                        .iter()
                        .map(|rejected| format!("{}: {}", rejected.region, rejected.why))
                        .collect();
                    return Err(Refusal::NotAllowed {
                        detail: format!("no region is eligible ({})", why.join("; ")),
                    });
                }
            }
        }
    };
    // From a dead region nothing can be handed over: it is a failover, whoever asks.
    let kind = match (wanted, state.service_verdict(service, from)) {
        (Wanted::Failover, _) | (_, Verdict::Dead) => Kind::Failover,
        (Wanted::Switchover, _) => Kind::Switchover,
        (Wanted::Failback, _) => Kind::Failback,
    };
    let wish = Wish {
        kind,
        service,
        from,
        to,
        automatic: false,
        needs_approval: false,
        reason,
        loss: None,
        accepts_loss: false,
        at_once: false,
    };
    plan(config, state, wish).ok_or_else(|| Refusal::Unknown { what: format!("service {service}") })
}

/// Why the other regions would not be moved to, for whoever looks at such a plan.
pub fn movable(state: &State, now: Time, service: &ServiceName) -> Vec<Rejected> {
    let (Some(config), Some(placement)) = (state.config.as_deref(), state.services.get(service)) else {
        return Vec::new();
    };
    eligible::candidates(&mut Round::default(), config, state, service, &placement.primary, now).1
}
