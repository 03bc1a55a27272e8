use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::verdict::is_accused;
use super::{Applied, Context, KEPT_REASON, KEPT_TEXT, kept, zone};
use crate::command::Refusal;
use crate::config::Config;
use crate::decide::too_few_vantages;
use crate::event::Event;
use crate::explain::Explanation;
use crate::incident::{self, IncidentStatus, Subject};
use crate::limits;
use crate::name::{RegionName, ServiceName};
use crate::plan::{Epoch, Kind, Parent, Plan, PlanId, PlanRecord, PlanStatus, StepStatus};
use crate::planted::{self, Bug};
use crate::state::State;
use crate::verdict::Verdict;

/// Plans that have ended and are still shown.
const KEPT_PLANS: usize = 100;
const FORGET_EVERY: u64 = 16;

pub(super) fn open(
    state: &mut State,
    context: &Context,
    plan: Plan,
    explanation: Option<Explanation>,
) -> Applied {
    let config = state.config.as_deref().ok_or(Refusal::NotConfigured)?;
    check(state, config, &plan)?;
    if let Some(placement) =
        state.services.get_mut(&plan.service).filter(|_| !planted::has(Bug::EpochNotRaised))
    {
        placement.epoch = plan.epoch;
    }
    state.held.remove(&plan.service);
    state.last_plan = plan.id.0;
    let status = if plan.needs_approval { PlanStatus::AwaitingApproval } else { PlanStatus::Running };
    let event = Event::PlanOpened { plan: plan.clone(), explanation };
    let body = event.to_string();
    let seq = state.record(context, event);
    tell(state, seq, &plan, IncidentStatus::Identified, body);
    let opened_at = state.now;
    let running_since = (!plan.needs_approval).then_some(opened_at);
    let steps = BTreeMap::new();
    let record = PlanRecord { plan, status, steps, opened_at, running_since, ended_at: None };
    state.plans.insert(record.plan.id, Arc::new(record));
    forget_old(state);
    Ok(true)
}

fn check(state: &State, config: &Config, plan: &Plan) -> Result<(), Refusal> {
    let placement = state
        .services
        .get(&plan.service)
        .ok_or_else(|| Refusal::Unknown { what: format!("service {}", plan.service) })?;
    if !planted::has(Bug::StaleParentTaken) {
        check_parent(state, plan, placement.epoch)?;
    }
    if let Some(open) = state.open_plan(&plan.service) {
        return Err(Refusal::PlanOpen { service: plan.service.clone(), open: open.plan.id });
    }
    check_steps(plan)?;
    check_ends(state, config, plan, &placement.primary)?;
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    if !plan.automatic {
        return Ok(());
    }
    if let Some(why) = &state.paused {
        return Err(Refusal::Paused { why: why.clone() });
    }
    // S5: only what a majority has called dead, and still does, is moved by itself.
    let vacant = state.databases.get(&plan.service).is_some_and(|held| held.holder() != Some(&plan.from));
    if plan.kind.moves_primary() && vacant {
        if let Some(why) = too_few_vantages(config, state) {
            return not_allowed(why);
        }
    } else if matches!(plan.kind, Kind::Failover | Kind::Withdraw) {
        if state.service_verdict(&plan.service, &plan.from) != Verdict::Dead {
            return not_allowed(format!("{} in {} is not held dead", plan.service, plan.from));
        }
        if !is_accused(state, config, &plan.service, &plan.from) {
            return not_allowed(format!(
                "{} in {} is accused by no majority any more",
                plan.service, plan.from
            ));
        }
    }
    match limits::exhausted(state, &config.strategy.moves, plan.kind, &plan.service, &plan.from, state.now) {
        Some(limit) => not_allowed(limit.to_string()),
        None => Ok(()),
    }
}

/// S2: it was made for what is so now.
fn check_parent(state: &State, plan: &Plan, current: Epoch) -> Result<(), Refusal> {
    let stale = |detail: String| Err(Refusal::StaleParent { detail });
    let Parent { config_generation, epoch } = plan.parent;
    if config_generation != state.config_generation {
        return stale(format!(
            "configuration generation {config_generation}, now {}",
            state.config_generation
        ));
    }
    if epoch != current {
        return stale(format!("{} at epoch {epoch}, now {current}", plan.service));
    }
    if plan.id != state.next_plan() {
        return stale(format!("{}, but the next is {}", plan.id, state.next_plan()));
    }
    if plan.epoch <= current {
        return Err(Refusal::StaleEpoch { service: plan.service.clone(), given: plan.epoch, current });
    }
    Ok(())
}

/// A plan must be able to come to its end: steps wait for earlier ones only, and one of them is
/// the move.
fn check_steps(plan: &Plan) -> Result<(), Refusal> {
    let malformed =
        |detail: &str| Err(Refusal::NotAllowed { detail: format!("{} is malformed: {detail}", plan.id) });
    if plan.reason.len() > KEPT_TEXT {
        let (actual, limit) = (plan.reason.len(), KEPT_TEXT);
        return Err(Refusal::TooLong { what: "the reason".into(), actual, limit });
    }
    if plan.steps.iter().filter(|step| step.point_of_no_return).count() != 1 {
        return malformed("exactly one step must be its point of no return");
    }
    let mut known = BTreeSet::new();
    for step in &plan.steps {
        if step.attempts == 0 {
            return malformed("a step has no attempts");
        }
        if !step.after.iter().all(|before| known.contains(before)) {
            return malformed("a step waits for one that does not come before it");
        }
        if !known.insert(step.id) {
            return malformed("two steps have one number");
        }
    }
    Ok(())
}

/// From where to where: traffic is never sent to a region that does not host the service, may
/// not, is drained, or is held dead (S6).
fn check_ends(state: &State, config: &Config, plan: &Plan, primary: &RegionName) -> Result<(), Refusal> {
    let service = &plan.service;
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    let hosts = |name: &RegionName| config.hosts(service).any(|region| region.name == *name);
    for end in [&plan.from, &plan.to] {
        if !hosts(end) {
            return not_allowed(format!("{end} does not host {service}"));
        }
    }
    if (plan.from == plan.to) != matches!(plan.kind, Kind::Publish | Kind::Recover) {
        return not_allowed(format!("{service} is in {} already", plan.to));
    }
    let leaves = if plan.kind == Kind::Withdraw { &plan.to } else { &plan.from };
    if leaves != primary {
        return not_allowed(format!("the primary of {service} is {primary}, not {leaves}"));
    }
    if matches!(plan.kind, Kind::Withdraw | Kind::Publish | Kind::Recover) {
        return Ok(());
    }
    if let Some(why) = state.drained.get(&plan.to) {
        return not_allowed(format!("{} is drained: {why}", plan.to));
    }
    // A service without its database may well look dead everywhere: then only the region counts.
    let verdict = match state.databases.contains_key(service) {
        true => state.region_verdict(&plan.to),
        false => state.service_verdict(service, &plan.to),
    };
    if verdict == Verdict::Dead {
        return not_allowed(format!("{service} is dead in {}", plan.to));
    }
    let allowed =
        config.services.get(service).map(|service| service.jurisdictions.as_slice()).unwrap_or_default();
    let own = config.region(&plan.to).and_then(|region| region.jurisdiction.as_ref());
    if plan.kind.moves_primary() && !allowed.is_empty() && !own.is_some_and(|own| allowed.contains(own)) {
        return not_allowed(format!("the jurisdiction of {} is not allowed for {service}", plan.to));
    }
    Ok(())
}

pub(super) fn approve(state: &mut State, context: &Context, id: PlanId) -> Applied {
    let record = find(state, id)?;
    match record.status {
        PlanStatus::Running => return Ok(false),
        PlanStatus::AwaitingApproval => {}
        _ => return Err(Refusal::NotAllowed { detail: format!("{id} has ended") }),
    }
    let parent = record.plan.parent.config_generation;
    if parent != state.config_generation {
        return Err(Refusal::StaleParent {
            detail: format!(
                "configuration generation {parent}, now {}; cancel it and plan anew",
                state.config_generation
            ),
        });
    }
    let now = state.now;
    let record = record_mut(state, id);
    (record.status, record.running_since) = (PlanStatus::Running, Some(now));
    state.record(context, Event::PlanApproved { plan: id });
    Ok(true)
}

pub(super) fn cancel(state: &mut State, context: &Context, id: PlanId, why: String) -> Applied {
    let record = find(state, id)?;
    match &record.status {
        PlanStatus::Cancelled(_) => return Ok(false),
        status if !status.is_open() => {
            return Err(Refusal::NotAllowed { detail: format!("{id} has ended") });
        }
        _ => {}
    }
    if record.is_committed() {
        return Err(Refusal::NotAllowed {
            detail: format!(
                "{id} is past its point of no return; when it has ended, `failover failback` goes home"
            ),
        });
    }
    finish(state, context, id, PlanStatus::Cancelled(kept(why, KEPT_REASON)));
    Ok(true)
}

pub(super) fn end(state: &mut State, context: &Context, id: PlanId, status: PlanStatus) -> Applied {
    let record = find(state, id)?;
    if !record.status.is_open() {
        return Ok(false);
    }
    let over = |step: &crate::plan::Step| {
        record
            .steps
            .get(&step.id)
            .is_some_and(|step| matches!(step.status, StepStatus::Done | StepStatus::Skipped))
    };
    match &status {
        PlanStatus::Done if !record.plan.steps.iter().all(over) => {
            return Err(Refusal::NotAllowed { detail: format!("{id} has steps that are not done") });
        }
        PlanStatus::AwaitingApproval | PlanStatus::Running => {
            return Err(Refusal::NotAllowed { detail: format!("{id} is open already") });
        }
        PlanStatus::Cancelled(_) if record.is_committed() => {
            return Err(Refusal::NotAllowed { detail: format!("{id} is past its point of no return") });
        }
        _ => {}
    }
    finish(state, context, id, cut(status));
    Ok(true)
}

fn cut(status: PlanStatus) -> PlanStatus {
    match status {
        PlanStatus::Stopped(why) => PlanStatus::Stopped(kept(why, KEPT_REASON)),
        PlanStatus::Cancelled(why) => PlanStatus::Cancelled(kept(why, KEPT_REASON)),
        status => status,
    }
}

/// Ends a plan. One that ends before its move took effect leaves the names as they were.
pub(super) fn finish(state: &mut State, context: &Context, id: PlanId, status: PlanStatus) {
    let now = state.now;
    let record = record_mut(state, id);
    record.status = status.clone();
    record.ended_at = Some(now);
    let plan = record.plan.clone();
    let event = Event::PlanEnded { plan: id, status: status.clone() };
    let body = event.to_string();
    let seq = state.record(context, event);
    let incident_status = match &status {
        PlanStatus::Done => IncidentStatus::Monitoring,
        _ => IncidentStatus::Identified,
    };
    tell(state, seq, &plan, incident_status, body);
    let in_doubt = status != PlanStatus::Done && shifted_elsewhere(state, id);
    if let Some(placement) = state.services.get_mut(&plan.service) {
        placement.published = match status {
            // Names were no part of it.
            PlanStatus::Done if plan.kind == Kind::Recover => placement.published,
            // Whatever it moved, its last shift named the service everywhere.
            PlanStatus::Done => plan.parent.config_generation,
            _ if in_doubt => 0,
            _ => placement.published,
        };
    }
    zone::restore(state, context, &plan.service);
    // Healthy servers do not mean served clients while names may lead elsewhere.
    if !in_doubt {
        resolve_if_served(state, seq, &plan);
    }
}

/// Whether it began to tell DNS servers of others. When it ended in the midst of that, what they
/// say is in doubt, and they must be told anew where the service is.
fn shifted_elsewhere(state: &State, id: PlanId) -> bool {
    let Some(record) = state.plans.get(&id) else { return false };
    let mut begun = record.plan.steps.iter().filter(|step| record.steps.contains_key(&step.id));
    begun.any(|step| step.action.zone_of_others().is_some())
}

/// A service that is healthy where it now is has no incident any more.
fn resolve_if_served(state: &mut State, seq: u64, plan: &Plan) {
    let Some(placement) = state.services.get(&plan.service) else { return };
    let primary = &placement.primary;
    if !matches!(state.service_verdict(&plan.service, primary), Verdict::Healthy | Verdict::Degraded) {
        return;
    }
    let body = format!("{} is served from {primary}", plan.service);
    let subject = Subject::Service(plan.service.clone());
    incident::update(&mut state.incidents, seq, state.now, &subject, IncidentStatus::Resolved, body);
}

fn tell(state: &mut State, seq: u64, plan: &Plan, status: IncidentStatus, body: String) {
    let subject = Subject::Service(plan.service.clone());
    incident::update(&mut state.incidents, seq, state.now, &subject, status, body);
}

fn forget_old(state: &mut State) {
    // Now and then is enough, and a thousand services may leave one region together.
    if !state.last_plan.is_multiple_of(FORGET_EVERY) {
        return;
    }
    // The last plan of a service is kept, whatever its age: what became of it decides what is next.
    let last: BTreeMap<&ServiceName, PlanId> =
        state.plans.values().map(|record| (&record.plan.service, record.plan.id)).collect();
    let is_old = |record: &&Arc<PlanRecord>| {
        !record.is_open()
            && (last.get(&record.plan.service) != Some(&record.plan.id)
                || !state.services.contains_key(&record.plan.service))
    };
    let ended: Vec<PlanId> = state.plans.values().filter(is_old).map(|record| record.plan.id).collect();
    for id in ended.iter().take(ended.len().saturating_sub(KEPT_PLANS)) {
        state.plans.remove(id);
    }
}

pub(super) fn find(state: &State, id: PlanId) -> Result<&PlanRecord, Refusal> {
    let found = state.plans.get(&id).map(|record| &**record);
    found.ok_or_else(|| Refusal::Unknown { what: id.to_string() })
}

pub(super) fn record_mut(state: &mut State, id: PlanId) -> &mut PlanRecord {
    Arc::make_mut(state.plans.get_mut(&id).expect("the caller found the plan"))
}
