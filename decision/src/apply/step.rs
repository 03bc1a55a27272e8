use super::plan::{find, finish, record_mut};
use super::{Applied, Context, KEPT_REASON, database, kept, zone};
use crate::command::Refusal;
use crate::config::DnsProvider;
use crate::event::Event;
use crate::limits;
use crate::plan::{
    Action, Epoch, Executor, Kind, OnFailure, Plan, PlanId, PlanStatus, StepId, StepRecord, StepResult,
    StepStatus,
};
use crate::planted::{self, Bug};
use crate::state::{Move, State};

/// Begins an attempt. The attempt must be the next one, so that a repeated message changes nothing.
pub(super) fn start(state: &mut State, context: &Context, id: PlanId, step: StepId, attempt: u32) -> Applied {
    let now = state.now;
    let record = find(state, id)?;
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    if record.status != PlanStatus::Running {
        return not_allowed(format!("{id} is not running"));
    }
    let Some(planned) = record.step(step) else {
        return Err(Refusal::Unknown { what: format!("step {step} of {id}") });
    };
    if !record.is_ready(planned) {
        return not_allowed(format!("step {step} of {id} waits for others"));
    }
    let last = record.steps.get(&step);
    if last.is_some_and(|last| matches!(last.status, StepStatus::Done | StepStatus::Skipped)) {
        return Ok(false);
    }
    if last.is_some_and(|last| last.status == StepStatus::Running && attempt > last.attempt) {
        return not_allowed(format!("an attempt at step {step} of {id} still runs"));
    }
    let expected = last.map_or(1, |last| last.attempt + 1);
    if attempt < expected {
        return Ok(false);
    }
    if attempt > expected || attempt > planned.attempts {
        return not_allowed(format!("attempt {attempt} at step {step} of {id} is out of order"));
    }
    let granted = match &planned.action {
        Action::Promote { region } => Some((record.plan.clone(), region.clone())),
        _ => None,
    };
    if let Some((plan, region)) = &granted {
        database::check_grant(state, plan, region)?;
    }
    let begun = StepRecord {
        status: StepStatus::Running,
        attempt,
        started_at: now,
        ended_at: None,
        note: String::new(),
    };
    record_mut(state, id).steps.insert(step, begun);
    state.record(context, Event::StepStarted { plan: id, step, attempt });
    if let Some((plan, region)) = granted {
        database::grant(state, context, &plan, &region);
    }
    Ok(true)
}

/// Takes an actuator's word. A result of an older epoch is refused (S2); one told twice changes
/// nothing (S9).
pub(super) fn done(
    state: &mut State,
    context: &Context,
    id: PlanId,
    step: StepId,
    attempt: u32,
    epoch: Epoch,
    result: StepResult,
) -> Applied {
    let record = find(state, id)?;
    let plan = &record.plan;
    let current = state.services.get(&plan.service).map_or(Epoch(0), |placement| placement.epoch);
    let stale = || Err(Refusal::StaleEpoch { service: plan.service.clone(), given: epoch, current });
    if epoch != plan.epoch {
        return stale();
    }
    let Some(planned) = record.step(step).cloned() else {
        return Err(Refusal::Unknown { what: format!("step {step} of {id}") });
    };
    let last = record.steps.get(&step);
    // Told once more what is known: nothing to refuse, also when the plan has ended since.
    let is_forgotten = planted::has(Bug::StepDoneTwice);
    if !is_forgotten && last.is_some_and(|last| is_repeated(last, attempt, &result)) {
        return Ok(false);
    }
    if epoch != current {
        return stale();
    }
    if !record.status.is_open() {
        return Err(Refusal::NotAllowed { detail: format!("{id} has ended") });
    }
    if record.status == PlanStatus::AwaitingApproval || !record.is_ready(&planned) {
        return Err(Refusal::NotAllowed { detail: format!("step {step} of {id} may not have begun yet") });
    }
    // Only what the log entry itself does has a result without a beginning.
    let running = match last {
        Some(last) => last.attempt,
        None if planned.executor == Executor::Controllers => 1,
        None => return Err(Refusal::NotAllowed { detail: format!("step {step} of {id} has not begun") }),
    };
    if attempt > running {
        let detail = format!("attempt {attempt} at step {step} of {id} has not begun");
        return Err(Refusal::NotAllowed { detail });
    }
    // A late success counts: the deed is done. A late failure says nothing of the attempt that runs.
    let is_late = attempt < running || last.is_some_and(|last| last.status != StepStatus::Running);
    let is_over = !is_forgotten
        && last.is_some_and(|last| matches!(last.status, StepStatus::Done | StepStatus::Skipped));
    if is_over || is_late && !matches!(result, StepResult::Done { .. }) {
        return Ok(false);
    }
    // S4: that writes have ended is a vacancy in the log, and nobody's word.
    if let (Action::Fence { region, .. }, StepResult::Done { .. }) = (&planned.action, &result)
        && state.databases.get(&plan.service).is_some_and(|held| held.holder() == Some(region))
        && !planted::has(Bug::FenceNotWaitedFor)
    {
        let detail = format!("{region} may still take writes: step {step} of {id} is not done");
        return Err(Refusal::NotAllowed { detail });
    }
    // S6: names follow this step, so that it takes writes is a report in the log, too.
    if let (Action::Promote { region }, StepResult::Done { .. }) = (&planned.action, &result)
        && !state.databases.get(&plan.service).is_some_and(|held| held.is_primary(region))
        && !planted::has(Bug::PromotionNotAwaited)
    {
        let detail = format!("{region} does not take writes: step {step} of {id} is not done");
        return Err(Refusal::NotAllowed { detail });
    }
    let plan = plan.clone();
    let result = cut(result);
    settle(state, id, step, &result, planned.on_failure, running >= planned.attempts);
    state.record(context, Event::StepEnded { plan: id, step, attempt, result: result.clone() });
    if let StepResult::Done { .. } = &result {
        take_effect(state, context, &plan, &planned);
    }
    let failed = record_mut(state, id).steps.get(&step).is_some_and(|step| step.status == StepStatus::Failed);
    if failed && (running >= planned.attempts || matches!(result, StepResult::Refused { .. })) {
        let (StepResult::Failed { why } | StepResult::Refused { why } | StepResult::Done { note: why }) =
            result;
        finish(
            state,
            context,
            id,
            PlanStatus::Stopped(format!("step {step} ({}) failed: {why}", planned.action)),
        );
    }
    Ok(true)
}

fn is_repeated(last: &StepRecord, attempt: u32, result: &StepResult) -> bool {
    match (last.status, result) {
        (StepStatus::Done, StepResult::Done { .. }) => true,
        (StepStatus::Failed | StepStatus::Skipped, StepResult::Failed { .. }) => attempt == last.attempt,
        // A refusal that is new must be journalled, however late it comes (S8).
        (StepStatus::Failed | StepStatus::Skipped, StepResult::Refused { why }) => {
            attempt <= last.attempt && last.note == kept(why.clone(), KEPT_REASON)
        }
        _ => false,
    }
}

fn cut(result: StepResult) -> StepResult {
    match result {
        StepResult::Done { note } => StepResult::Done { note: kept(note, KEPT_REASON) },
        StepResult::Failed { why } => StepResult::Failed { why: kept(why, KEPT_REASON) },
        StepResult::Refused { why } => StepResult::Refused { why: kept(why, KEPT_REASON) },
    }
}

fn settle(
    state: &mut State,
    id: PlanId,
    step: StepId,
    result: &StepResult,
    on_failure: OnFailure,
    last: bool,
) {
    let now = state.now;
    let record = record_mut(state, id).steps.entry(step).or_insert_with(|| StepRecord {
        status: StepStatus::Running,
        attempt: 1,
        started_at: now,
        ended_at: None,
        note: String::new(),
    });
    let (over, note) = match result {
        StepResult::Done { note } => (None, note),
        StepResult::Failed { why } => (Some(last), why),
        StepResult::Refused { why } => (Some(true), why),
    };
    record.status = match over {
        None => StepStatus::Done,
        Some(true) if on_failure == OnFailure::Skip => StepStatus::Skipped,
        Some(_) => StepStatus::Failed,
    };
    record.ended_at = Some(now);
    record.note.clone_from(note);
}

/// What a done step means for the state.
fn take_effect(state: &mut State, context: &Context, plan: &Plan, step: &crate::plan::Step) {
    if step.point_of_no_return {
        commit_move(state, plan);
    }
    if let Action::ShiftDns { zone: origin, provider: DnsProvider::Embedded, set } = &step.action {
        zone::shift(state, context, origin, set);
    }
}

fn commit_move(state: &mut State, plan: &Plan) {
    let now = state.now;
    let decided_at = state.plans.get(&plan.id).map_or(now, |record| record.opened_at);
    let Some(placement) = state.services.get_mut(&plan.service) else { return };
    match plan.kind {
        Kind::Withdraw => {
            placement.left_out.insert(plan.from.clone());
        }
        Kind::Restore => {
            placement.left_out.remove(&plan.to);
        }
        Kind::Failover | Kind::Switchover | Kind::Failback => {
            placement.primary = plan.to.clone();
            placement.since = now;
            placement.moved = true;
            placement.left_out.remove(&plan.to);
            if plan.kind == Kind::Failover {
                placement.left_out.insert(plan.from.clone());
            }
        }
        Kind::Publish => return,
        // Where it is has not changed, only who writes; it counts as a move all the same.
        Kind::Recover => {}
    }
    state.moves.push(Move {
        at: now,
        decided_at,
        kind: plan.kind,
        service: plan.service.clone(),
        from: plan.from.clone(),
        to: plan.to.clone(),
        automatic: plan.automatic,
    });
    limits::forget_old(state);
}
