use std::time::Duration;

use super::Round;
use crate::command::Command;
use crate::config::Config;
use crate::plan::{
    Action, Executor, Kind, OnFailure, PlanRecord, PlanStatus, Step, StepRecord, StepResult, StepStatus,
};
use crate::state::State;
use crate::time::{Human, Time};
use crate::verdict::Verdict;

/// Takes every open plan as far as it can go now.
pub(super) fn advance(round: &mut Round, state: &State, now: Time) -> Vec<Command> {
    let mut commands = Vec::new();
    let Some(config) = state.config.as_deref() else { return commands };
    for record in state.plans.values().filter(|record| record.is_open()) {
        if let Some(end) = overtaken(config, state, record) {
            commands.push(end);
        } else if record.status == PlanStatus::Running {
            Run { round, state, record, now, commands: &mut commands }.advance(config);
        }
    }
    commands
}

/// Ends a plan that no longer fits what is known. What a person has cancelled stays cancelled, so
/// that is not how the rules end a plan that they may make anew.
fn overtaken(config: &Config, state: &State, record: &PlanRecord) -> Option<Command> {
    let plan = &record.plan;
    let id = plan.id;
    let verdict = |region| state.service_verdict(&plan.service, region);
    let stop = |why: String| Some(Command::EndPlan { plan: id, status: PlanStatus::Stopped(why) });
    if plan.parent.config_generation != state.config_generation {
        return stop(format!("it was made for configuration generation {}", plan.parent.config_generation));
    }
    // Traffic must not be led into a dead region, nor a plan finished there (S6).
    if verdict(&plan.to) == Verdict::Dead {
        let when = if record.has_moved() { "after" } else { "before" };
        return stop(format!("{} died in {} {when} the move took effect", plan.service, plan.to));
    }
    let primary = state.services.get(&plan.service).map(|placement| &placement.primary);
    if !plan.kind.moves_primary() && primary.is_some_and(|primary| verdict(primary) == Verdict::Dead) {
        return stop(format!("{} died in its primary region, which goes first", plan.service));
    }
    if record.status != PlanStatus::AwaitingApproval {
        return None;
    }
    let back = matches!(verdict(&plan.from), Verdict::Healthy | Verdict::Degraded);
    if plan.kind == Kind::Failover && plan.automatic && back {
        let why = format!("{} is healthy in {} again", plan.service, plan.from);
        return Some(Command::Cancel { plan: id, why });
    }
    if plan.kind != Kind::Failover && verdict(&plan.from) == Verdict::Dead {
        return stop(format!("{} died in {}: that needs a failover", plan.service, plan.from));
    }
    if config.region(&plan.to).is_none() || state.drained.contains_key(&plan.to) {
        return stop(format!("{} can no longer take it", plan.to));
    }
    None
}

/// One running plan under way.
struct Run<'a> {
    round: &'a mut Round,
    state: &'a State,
    record: &'a PlanRecord,
    now: Time,
    commands: &'a mut Vec<Command>,
}

impl Run<'_> {
    fn advance(mut self, config: &Config) {
        let record = self.record;
        // A pause holds what runs by itself, as long as holding leaves nothing half done.
        if self.state.paused.is_some() && record.plan.automatic && !record.is_committed() {
            return;
        }
        if self.is_late(config.strategy.recovery_timeout) {
            return;
        }
        let mut over = 0;
        for step in &record.plan.steps {
            match record.steps.get(&step.id) {
                Some(begun) if matches!(begun.status, StepStatus::Done | StepStatus::Skipped) => over += 1,
                Some(begun) if begun.status == StepStatus::Failed => self.retry(step, begun),
                Some(begun) => {
                    self.watch(step, begun);
                    if self.gives_up(step, begun) {
                        return;
                    }
                }
                None if record.is_ready(step) => self.begin(step),
                None => {}
            }
        }
        if over == record.plan.steps.len() {
            self.commands.push(Command::EndPlan { plan: record.plan.id, status: PlanStatus::Done });
        }
    }

    /// Over the time that a whole plan has, not counting what it was told to wait.
    fn is_late(&mut self, timeout: Duration) -> bool {
        let begun = self.record.running_since.unwrap_or(self.record.opened_at);
        let pauses: Duration = self
            .record
            .plan
            .steps
            .iter()
            .map(|step| match step.action {
                Action::Settle { pause } => pause,
                _ => Duration::ZERO,
            })
            .sum();
        let steps_left = self.record.plan.steps.iter().any(|step| {
            let ended = self
                .record
                .steps
                .get(&step.id)
                .is_some_and(|step| matches!(step.status, StepStatus::Done | StepStatus::Skipped));
            !ended
        });
        if !steps_left || !self.round.passed(self.now, begun, timeout + pauses) {
            return false;
        }
        let why = format!("it was not done within the recovery timeout of {}", Human(timeout));
        self.commands.push(Command::EndPlan { plan: self.record.plan.id, status: PlanStatus::Stopped(why) });
        true
    }

    fn begin(&mut self, step: &Step) {
        match (&step.executor, &step.action) {
            // Its entry in the log is the deed.
            (Executor::Controllers, Action::ShiftDns { zone, .. }) => {
                let note = format!("zone {zone} published to every agent");
                self.done(step, 1, StepResult::Done { note });
            }
            _ => self.start(step, 1),
        }
    }

    fn watch(&mut self, step: &Step, begun: &StepRecord) {
        let (due, result) = match (&step.executor, &step.action) {
            (Executor::Controllers, Action::Settle { pause }) => {
                (*pause, StepResult::Done { note: format!("waited {}", Human(*pause)) })
            }
            _ => (
                step.timeout,
                StepResult::Failed { why: format!("no answer within {}", Human(step.timeout)) },
            ),
        };
        // Nothing settles in a region that died meanwhile: go on at once (S6).
        let plan = &self.record.plan;
        let is_pause = matches!(step.action, Action::Settle { .. });
        let result = if is_pause && self.state.service_verdict(&plan.service, &plan.from) == Verdict::Dead {
            StepResult::Done { note: format!("not waited for: {} died", plan.from) }
        } else if self.round.passed(self.now, begun.started_at, due) {
            result
        } else {
            return;
        };
        self.done(step, begun.attempt, result);
    }

    /// Whether the last attempt has just failed, which ends the plan and all its other steps.
    fn gives_up(&self, step: &Step, begun: &StepRecord) -> bool {
        let failed = self.commands.last().is_some_and(|last| match last {
            Command::StepDone { plan, step: of, result, .. } => {
                (*plan, *of) == (self.record.plan.id, step.id) && matches!(result, StepResult::Failed { .. })
            }
            _ => false,
        });
        failed && begun.attempt >= step.attempts && step.on_failure == OnFailure::Stop
    }

    /// Failed, and attempts are left: once more, after as long as the attempt's number in seconds/4.
    fn retry(&mut self, step: &Step, begun: &StepRecord) {
        let backoff = Duration::from_millis(250) * begun.attempt.min(16);
        let ended = begun.ended_at.unwrap_or(self.now);
        if begun.attempt < step.attempts && self.round.passed(self.now, ended, backoff) {
            self.start(step, begun.attempt + 1);
        }
    }

    fn start(&mut self, step: &Step, attempt: u32) {
        self.commands.push(Command::StartStep { plan: self.record.plan.id, step: step.id, attempt });
    }

    fn done(&mut self, step: &Step, attempt: u32, result: StepResult) {
        let plan = &self.record.plan;
        let (id, epoch) = (step.id, plan.epoch);
        self.commands.push(Command::StepDone { plan: plan.id, step: id, attempt, epoch, result });
    }
}
