use super::{Applied, Context, KEPT_REASON, kept, zone};
use crate::command::Refusal;
use crate::config::Config;
use crate::event::Event;
use crate::explain::Explanation;
use crate::incident::{self, IncidentStatus, Subject};
use crate::limits;
use crate::plan::{Kind, Plan, PlanId, PlanRecord, PlanStatus, StepStatus};
use crate::state::State;
use crate::verdict::Verdict;

/// Plans that have ended and are still shown.
const KEPT_PLANS: usize = 100;

pub(super) fn open(state: &mut State, context: &Context, plan: Plan, explanation: Option<Explanation>) -> Applied {
    let config = state.config.as_ref().ok_or(Refusal::NotConfigured)?;
    check(state, config, &plan)?;
    if let Some(placement) = state.services.get_mut(&plan.service) {
        placement.epoch = plan.epoch;
    }
    state.held.remove(&plan.service);
    state.last_plan = plan.id.0;
    let status = if plan.needs_approval { PlanStatus::AwaitingApproval } else { PlanStatus::Running };
    let event = Event::PlanOpened { plan: plan.clone(), explanation };
    let body = event.to_string();
    let seq = state.record(context, event);
    tell(state, seq, &plan, IncidentStatus::Identified, body);
    let record =
        PlanRecord { plan, status, steps: Default::default(), opened_at: state.now, ended_at: None };
    state.plans.insert(record.plan.id, record);
    forget_old(state);
    Ok(true)
}

fn check(state: &State, config: &Config, plan: &Plan) -> Result<(), Refusal> {
    let placement = state
        .services
        .get(&plan.service)
        .ok_or_else(|| Refusal::Unknown { what: format!("service {}", plan.service) })?;
    let stale = |detail: String| Refusal::StaleParent { detail };
    if plan.parent.config_generation != state.config_generation {
        return Err(stale(format!(
            "configuration generation {}, now {}",
            plan.parent.config_generation, state.config_generation
        )));
    }
    if plan.parent.epoch != placement.epoch {
        return Err(stale(format!("{} at epoch {}, now {}", plan.service, plan.parent.epoch, placement.epoch)));
    }
    if plan.id != state.next_plan() {
        return Err(stale(format!("{}, but the next is {}", plan.id, state.next_plan())));
    }
    if plan.epoch <= placement.epoch {
        let given = plan.epoch;
        return Err(Refusal::StaleEpoch { service: plan.service.clone(), given, current: placement.epoch });
    }
    if let Some(open) = state.open_plan(&plan.service) {
        return Err(Refusal::PlanOpen { service: plan.service.clone(), open: open.plan.id });
    }
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    if !config.hosts(&plan.service).any(|region| region.name == plan.to) {
        return not_allowed(format!("{} does not host {}", plan.to, plan.service));
    }
    let moves_primary = matches!(plan.kind, Kind::Failover | Kind::Switchover | Kind::Failback);
    if moves_primary && plan.from != placement.primary {
        return not_allowed(format!("the primary of {} is {}, not {}", plan.service, placement.primary, plan.from));
    }
    if moves_primary && plan.from == plan.to {
        return not_allowed(format!("{} is in {} already", plan.service, plan.to));
    }
    if let Some(why) = state.drained.get(&plan.to).filter(|_| moves_primary) {
        return not_allowed(format!("{} is drained: {why}", plan.to));
    }
    if !plan.automatic {
        return Ok(());
    }
    if let Some(why) = &state.paused {
        return Err(Refusal::Paused { why: why.clone() });
    }
    // S5: only what a majority has called dead is moved by itself.
    if matches!(plan.kind, Kind::Failover | Kind::Withdraw)
        && state.service_verdict(&plan.service, &plan.from) != Verdict::Dead
    {
        return not_allowed(format!("{} in {} is not held dead", plan.service, plan.from));
    }
    match limits::exhausted(state, &config.strategy.moves, &plan.service, &plan.from, state.now) {
        Some(limit) => not_allowed(limit.to_string()),
        None => Ok(()),
    }
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
            detail: format!("configuration generation {parent}, now {}; cancel it and plan anew", state.config_generation),
        });
    }
    record_mut(state, id).status = PlanStatus::Running;
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
            detail: format!("{id} is past its point of no return; when it has ended, `failover failback` goes home"),
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
        _ => {}
    }
    finish(state, context, id, status);
    Ok(true)
}

/// Ends a plan. One that ends before its point of no return leaves the names as they were.
pub(super) fn finish(state: &mut State, context: &Context, id: PlanId, status: PlanStatus) {
    let now = state.now;
    let record = record_mut(state, id);
    record.status = status.clone();
    record.ended_at = Some(now);
    let plan = record.plan.clone();
    let event = Event::PlanEnded { plan: id, status: status.clone() };
    let body = event.to_string();
    let seq = state.record(context, event);
    let incident_status = match status {
        PlanStatus::Done => IncidentStatus::Monitoring,
        _ => IncidentStatus::Identified,
    };
    tell(state, seq, &plan, incident_status, body);
    resolve_if_served(state, seq, &plan);
    zone::rebuild(state, context);
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
    let ended: Vec<PlanId> =
        state.plans.values().filter(|record| !record.is_open()).map(|record| record.plan.id).collect();
    for id in ended.iter().take(ended.len().saturating_sub(KEPT_PLANS)) {
        state.plans.remove(id);
    }
}

pub(super) fn find(state: &State, id: PlanId) -> Result<&PlanRecord, Refusal> {
    state.plans.get(&id).ok_or_else(|| Refusal::Unknown { what: id.to_string() })
}

pub(super) fn record_mut(state: &mut State, id: PlanId) -> &mut PlanRecord {
    state.plans.get_mut(&id).expect("the caller found the plan")
}
