use std::time::Duration;

use super::{Round, database};
use crate::apply::check_grant;
use crate::command::Command;
use crate::config::Config;
use crate::database::{InstanceRole, Ownership, Proof};
use crate::name::RegionName;
use crate::plan::{
    Action, Executor, Kind, OnFailure, PlanRecord, PlanStatus, Step, StepRecord, StepResult, StepStatus,
};
use crate::planted::{self, Bug};
use crate::state::State;
use crate::time::{Human, Time};
use crate::verdict::Verdict;

/// For the target of a planned move to say that it follows closely, or of a failover where it stands.
const HEIR_WITHIN: Duration = Duration::from_secs(10);
/// What it tells of itself may be on its way.
const GRANTED_WITHIN: Duration = Duration::from_secs(1);

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

fn follows(held: &Ownership, region: &RegionName) -> bool {
    let role = held.instances.get(region).map(|told| told.role);
    role == Some(InstanceRole::Replica { streaming: true })
}

/// From then on its vacancy is filled: one that comes after it needs a plan of its own.
fn has_promoted(record: &PlanRecord) -> bool {
    let promotions = record.plan.steps.iter().filter(|step| matches!(step.action, Action::Promote { .. }));
    let mut ended = promotions.filter_map(|step| record.steps.get(&step.id));
    ended.any(|step| step.status == StepStatus::Done)
}

/// Ends a plan that no longer fits what is known. What a person has cancelled stays cancelled, so
/// that is not how the rules end a plan that they may make anew.
fn overtaken(config: &Config, state: &State, record: &PlanRecord) -> Option<Command> {
    let plan = &record.plan;
    let id = plan.id;
    let verdict = |region: &RegionName| state.service_verdict(&plan.service, region);
    let stop = |why: String| Some(Command::EndPlan { plan: id, status: PlanStatus::Stopped(why) });
    if plan.parent.config_generation != state.config_generation {
        return stop(format!("it was made for configuration generation {}", plan.parent.config_generation));
    }
    // Traffic must not be led into a dead region, nor a plan finished there (S6).
    // A service without its database may well look dead everywhere: then only the region counts.
    let has_database = state.databases.contains_key(&plan.service);
    let is_dead = |region: &RegionName| match has_database {
        true => state.region_verdict(region) == Verdict::Dead,
        false => verdict(region) == Verdict::Dead,
    };
    if let Some(vacancy) = state.databases.get(&plan.service).and_then(Ownership::vacancy)
        && (!plan.kind.moves_primary() || has_promoted(record))
    {
        return stop(format!("the database has no primary, which goes first: {}", vacancy.why));
    }
    if is_dead(&plan.to) {
        let when = if record.has_moved() { "after" } else { "before" };
        return stop(format!("{} died in {} {when} the move took effect", plan.service, plan.to));
    }
    let primary = state.services.get(&plan.service).map(|placement| &placement.primary);
    if !plan.kind.moves_primary() && primary.is_some_and(is_dead) {
        return stop(format!("{} died in its primary region, which goes first", plan.service));
    }
    if record.status != PlanStatus::AwaitingApproval {
        return None;
    }
    let is_back = database::can_go_on(state, &plan.service, &plan.from);
    if plan.kind == Kind::Failover && plan.automatic && is_back {
        let why = format!("the database can go on in {}", plan.from);
        return stop(why);
    }
    let back = matches!(verdict(&plan.from), Verdict::Healthy | Verdict::Degraded);
    // An application may look well while its database has nobody to write to it.
    let is_vacant = state.databases.get(&plan.service).is_some_and(|held| held.holder().is_none());
    if plan.kind == Kind::Failover && plan.automatic && back && !is_vacant {
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
            (_, Action::Fence { lossless, .. }) => self.begin_fence(step, *lossless),
            (_, Action::Promote { region }) => self.begin_promote(step, region),
            // Its entry in the log is the deed.
            (Executor::Controllers, Action::ShiftDns { zone, .. }) => {
                let note = format!("zone {zone} published to every agent");
                self.done(step, 1, StepResult::Done { note });
            }
            _ => self.start(step, 1),
        }
    }

    /// What has ended already need not be told to.
    fn begin_fence(&mut self, step: &Step, lossless: bool) {
        if planted::has(Bug::FenceNotWaitedFor) {
            return self.done(step, 1, StepResult::Done { note: String::new() });
        }
        match self.state.database(&self.record.plan.service) {
            Some((_, held)) if held.holder().is_none() => self.fenced(step, 1, lossless, held),
            // It is not ended before its heir is known to wait.
            Some((_, held)) if lossless => {
                let to = &self.record.plan.to;
                let is_ready = held.instances.get(to).is_some_and(|told| told.heir == Some(held.epoch));
                if is_ready {
                    self.start(step, 1);
                } else {
                    self.not_in_time(step, HEIR_WITHIN, format!("{to} does not follow closely enough"));
                }
            }
            _ => self.start(step, 1),
        }
    }

    fn watch_fence(&mut self, step: &Step, begun: &StepRecord, lossless: bool) {
        match self.state.database(&self.record.plan.service) {
            Some((_, held)) if held.holder().is_none() => self.fenced(step, begun.attempt, lossless, held),
            _ if self.round.passed(self.now, begun.started_at, step.timeout) => {
                let why = format!("it had not ended its writes within {}", Human(step.timeout));
                self.done(step, begun.attempt, StepResult::Failed { why });
            }
            // It goes on writing until its heir follows, and clients are held back meanwhile.
            Some((_, held))
                if lossless
                    && !follows(held, &self.record.plan.to)
                    && self.round.passed(self.now, begun.started_at, HEIR_WITHIN) =>
            {
                let why = format!("{} does not follow any more", self.record.plan.to);
                self.done(step, begun.attempt, StepResult::Failed { why });
            }
            _ => {}
        }
    }

    fn fenced(&mut self, step: &Step, attempt: u32, lossless: bool, held: &Ownership) {
        let Some(vacancy) = held.vacancy() else { return };
        let result = match &vacancy.proof {
            Proof::Released { clean: Some(clean), .. } => {
                StepResult::Done { note: format!("shut down in order at {clean}") }
            }
            _ if lossless && !planted::has(Bug::HandOverWithoutOrder) => {
                StepResult::Failed { why: format!("it did not end in order: {}", vacancy.why) }
            }
            _ => StepResult::Done { note: vacancy.why.clone() },
        };
        self.done(step, attempt, result);
    }

    /// The rules that chose the target looked at positions; a planned move has none to look at, because
    /// the target itself waits until it has everything.
    fn begin_promote(&mut self, step: &Step, region: &RegionName) {
        let plan = &self.record.plan;
        let is_planned = self
            .record
            .plan
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Fence { lossless: true, .. }));
        let Some((_, held)) = self.state.database(&plan.service) else { return };
        let is_known = is_planned || held.holder() == Some(region) || held.settled(region).is_some();
        match check_grant(self.state, plan, region) {
            // Whoever may not be granted it must not keep it from the others.
            Err(refusal) => self.not_in_time(step, GRANTED_WITHIN, refusal.to_string()),
            Ok(()) if is_known => self.start(step, 1),
            Ok(()) => self.not_in_time(step, HEIR_WITHIN, format!("{region} did not tell its position")),
        }
    }

    /// Granted with the step's beginning; done when the instance takes writes.
    fn watch_promote(&mut self, step: &Step, begun: &StepRecord, region: &RegionName) {
        let plan = &self.record.plan;
        let Some((_, held)) = self.state.database(&plan.service) else { return };
        let is_primary = held.is_primary(region) || planted::has(Bug::PromotionNotAwaited);
        if is_primary && held.epoch == plan.epoch {
            let at = held.instances.get(region).and_then(|told| told.position);
            let at = at.map_or(String::new(), |at| format!(" at {at}"));
            let note = format!("{region} takes writes at epoch {}{at}", held.epoch);
            return self.done(step, begun.attempt, StepResult::Done { note });
        }
        if let Some(vacancy) = held.vacancy() {
            let why = format!("{region} did not become primary: {}", vacancy.why);
            return self.done(step, begun.attempt, StepResult::Failed { why });
        }
        if self.round.passed(self.now, begun.started_at, step.timeout) {
            let why = format!("no answer within {}", Human(step.timeout));
            self.done(step, begun.attempt, StepResult::Failed { why });
        }
    }

    /// The plan ends when what a step waits for before it may begin has not come in time.
    fn not_in_time(&mut self, step: &Step, patience: Duration, why: String) {
        let before = step.after.iter().filter_map(|before| self.record.steps.get(before)?.ended_at).max();
        let since = before.or(self.record.running_since).unwrap_or(self.record.opened_at);
        if self.round.passed(self.now, since, patience) {
            let status =
                PlanStatus::Stopped(format!("step {} ({}) was not begun: {why}", step.id, step.action));
            self.commands.push(Command::EndPlan { plan: self.record.plan.id, status });
        }
    }

    fn watch(&mut self, step: &Step, begun: &StepRecord) {
        match &step.action {
            Action::Fence { lossless, .. } => return self.watch_fence(step, begun, *lossless),
            Action::Promote { region } => return self.watch_promote(step, begun, region),
            _ => {}
        }
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
