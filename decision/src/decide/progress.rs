use super::Round;
use crate::command::Command;
use crate::plan::{
    Action, Executor, Kind, PlanRecord, PlanStatus, Step, StepRecord, StepResult, StepStatus,
};
use crate::state::State;
use crate::time::{Human, Time};
use crate::verdict::Verdict;

/// Takes every open plan as far as it can go now.
pub(super) fn advance(round: &mut Round, state: &State, now: Time) {
    for record in state.plans.values() {
        match record.status {
            PlanStatus::Running => run(round, state, record, now),
            PlanStatus::AwaitingApproval => withdraw_if_moot(round, state, record),
            _ => {}
        }
    }
}

/// A plan that waits for approval is dropped when what it was for is over.
fn withdraw_if_moot(round: &mut Round, state: &State, record: &PlanRecord) {
    let plan = &record.plan;
    let back = matches!(state.service_verdict(&plan.service, &plan.from), Verdict::Healthy | Verdict::Degraded);
    if plan.kind == Kind::Failover && plan.automatic && back {
        let why = format!("{} is healthy in {} again", plan.service, plan.from);
        round.commands.push(Command::Cancel { plan: plan.id, why });
    }
}

fn run(round: &mut Round, state: &State, record: &PlanRecord, now: Time) {
    let plan = &record.plan;
    // What has not taken effect yet must not lead clients into a dead region (S6).
    if !record.is_committed() && state.service_verdict(&plan.service, &plan.to) == Verdict::Dead {
        let why = format!("{} died before the move took effect", plan.to);
        round.commands.push(Command::EndPlan { plan: plan.id, status: PlanStatus::Stopped(why) });
        return;
    }
    let mut over = 0;
    for step in &plan.steps {
        match record.steps.get(&step.id) {
            Some(begun) if matches!(begun.status, StepStatus::Done | StepStatus::Skipped) => over += 1,
            Some(begun) if begun.status == StepStatus::Failed => retry(round, record, step, begun, now),
            Some(begun) => watch(round, record, step, begun, now),
            None if record.is_ready(step) => begin(round, record, step),
            None => {}
        }
    }
    if over == plan.steps.len() {
        round.commands.push(Command::EndPlan { plan: plan.id, status: PlanStatus::Done });
    }
}

fn begin(round: &mut Round, record: &PlanRecord, step: &Step) {
    let plan = &record.plan;
    match (&step.executor, &step.action) {
        // Its entry in the log is the deed.
        (Executor::Controllers, Action::ShiftDns { zone, .. }) => round.commands.push(Command::StepDone {
            plan: plan.id,
            step: step.id,
            attempt: 1,
            epoch: plan.epoch,
            result: StepResult::Done { note: format!("zone {zone} published to every agent") },
        }),
        _ => round.commands.push(Command::StartStep { plan: plan.id, step: step.id, attempt: 1 }),
    }
}

fn watch(round: &mut Round, record: &PlanRecord, step: &Step, begun: &StepRecord, now: Time) {
    let plan = &record.plan;
    let result = match (&step.executor, &step.action) {
        (Executor::Controllers, Action::Settle { pause }) => {
            if !round.passed(now, begun.started_at, *pause) {
                return;
            }
            StepResult::Done { note: format!("waited {}", Human(*pause)) }
        }
        _ => {
            if !round.passed(now, begun.started_at, step.timeout) {
                return;
            }
            StepResult::Failed { why: format!("no answer within {}", Human(step.timeout)) }
        }
    };
    let (id, attempt, epoch) = (step.id, begun.attempt, plan.epoch);
    round.commands.push(Command::StepDone { plan: plan.id, step: id, attempt, epoch, result });
}

/// Failed, and attempts are left: once more, after as long as the attempt's number in seconds/4.
fn retry(round: &mut Round, record: &PlanRecord, step: &Step, begun: &StepRecord, now: Time) {
    let backoff = std::time::Duration::from_millis(250) * begun.attempt.min(16);
    if begun.attempt < step.attempts && round.passed(now, begun.ended_at.unwrap_or(now), backoff) {
        let attempt = begun.attempt + 1;
        round.commands.push(Command::StartStep { plan: record.plan.id, step: step.id, attempt });
    }
}
