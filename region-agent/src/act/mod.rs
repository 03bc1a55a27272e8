//! Carries out the steps that the goal assigns: each attempt once, its result told until it is
//! acknowledged. What a newer goal no longer names is dropped if it was not begun yet; what was
//! begun runs to its end, which is bounded, because half a step helps nobody.

mod dns;
mod service;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use decision::config::Database;
use decision::goal::Assignment;
use decision::name::RegionName;
use decision::plan::{Action, PlanId, StepId, StepResult};
use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wire::agent::StepReport;
use wire::failpoint;
use wire::host::Host;

use crate::drill::Outage;
use crate::goals::Held;
use crate::metrics::Metrics;
use crate::outbox::{Attempt, Outbox};
use crate::probe::Prober;

const MOST_AT_ONCE: usize = 16;

/// What steps are carried out with.
#[derive(Clone)]
pub struct Actor {
    pub host: Host,
    pub cluster: String,
    pub region: RegionName,
    pub prober: Arc<Prober>,
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
    /// On purpose.
    pub(crate) outage: Arc<Outage>,
}

/// An assignment with the generation of the goal that first named it here.
#[derive(Clone, Debug)]
struct Task {
    assignment: Assignment,
    generation: u64,
}

impl Task {
    fn attempt(&self) -> Attempt {
        attempt(&self.assignment)
    }
}

fn attempt(assignment: &Assignment) -> Attempt {
    (assignment.plan, assignment.step, assignment.attempt)
}

/// Works off assignments until `stop`; steps under way are then given up, to be found out and
/// repeated by the next attempt.
pub async fn run(actor: Actor, mut goals: watch::Receiver<Arc<Held>>, stop: CancellationToken) {
    let mut work = Work::default();
    let mut running = JoinSet::new();
    loop {
        let held = Arc::clone(&goals.borrow_and_update());
        if held.is_live {
            work.adopt(&held.goal.assignments, held.goal.generation, &actor.outbox);
        }
        while let Some(task) = work.begin() {
            let mut databases = held.goal.databases.iter();
            let of_service = databases.find(|goal| goal.service == task.assignment.service);
            running.spawn(carry_out(actor.clone(), task, of_service.map(|goal| goal.wished.clone())));
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(Ok(report)) = running.join_next() => {
                work.end(&report);
                actor.outbox.report(report);
            }
            Ok(()) = goals.changed() => {}
        }
    }
}

/// What is to be done, is being done, and was done: without any I/O.
#[derive(Debug, Default)]
struct Work {
    waiting: VecDeque<Task>,
    /// One attempt at a step at a time.
    running: BTreeMap<(PlanId, StepId), u32>,
    /// Results of attempts that the goal still names.
    done: BTreeMap<Attempt, StepReport>,
}

impl Work {
    /// An attempt that was done already, but that a controller still asks for, is told again.
    fn adopt(&mut self, assignments: &[Assignment], generation: u64, outbox: &Outbox) {
        let named: BTreeSet<Attempt> = assignments.iter().map(attempt).collect();
        self.done.retain(|attempt, _| named.contains(attempt));
        self.waiting.retain(|task| named.contains(&task.attempt()));
        for assignment in assignments {
            let attempt = attempt(assignment);
            let (plan, step, number) = attempt;
            if let Some(report) = self.done.get(&attempt) {
                outbox.report(report.clone());
                continue;
            }
            let is_running = self.running.get(&(plan, step)) == Some(&number);
            let is_waiting = self.waiting.iter().any(|task| task.attempt() == attempt);
            if !is_running && !is_waiting {
                self.waiting.push_back(Task { assignment: assignment.clone(), generation });
            }
        }
    }

    /// The next task that may begin.
    fn begin(&mut self) -> Option<Task> {
        if self.running.len() >= MOST_AT_ONCE {
            return None;
        }
        let is_free = |task: &Task| !self.running.contains_key(&(task.assignment.plan, task.assignment.step));
        let at = self.waiting.iter().position(is_free)?;
        let task = self.waiting.remove(at)?;
        let (plan, step, number) = task.attempt();
        self.running.insert((plan, step), number);
        Some(task)
    }

    fn end(&mut self, report: &StepReport) {
        self.running.remove(&(report.plan, report.step));
        self.done.insert(crate::outbox::attempt(report), report.clone());
    }
}

async fn carry_out(actor: Actor, task: Task, wished: Option<Database>) -> StepReport {
    let Assignment { plan, step, attempt, epoch, .. } = task.assignment;
    let span = tracing::info_span!(
        "step", %plan, %step, attempt, %epoch, service = %task.assignment.service
    );
    let timeout = task.assignment.timeout;
    let deed = deed(&task.assignment.action);
    let acting = async {
        tracing::info!(action = %task.assignment.action, "step begins");
        deed.inspect(|deed| failpoint::before(deed));
        // A fault of our own must not leave the plan waiting for its timeout.
        let result = AssertUnwindSafe(tokio::time::timeout(timeout, act(&actor, &task, wished.as_ref())))
            .catch_unwind()
            .await;
        let result = match result {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                StepResult::Failed { why: format!("not done within {}", decision::time::Human(timeout)) }
            }
            Err(_) => StepResult::Refused { why: "the agent panicked: see its log".to_owned() },
        };
        deed.inspect(|deed| failpoint::after(deed));
        match &result {
            StepResult::Done { note } => {
                actor.metrics.steps_done.add();
                tracing::info!(note, "step done");
            }
            StepResult::Failed { why } => {
                actor.metrics.steps_failed.add();
                tracing::warn!(why, "step failed");
            }
            StepResult::Refused { why } => {
                actor.metrics.steps_refused.add();
                tracing::warn!(why, "step refused");
            }
        }
        result
    };
    let result = acting.instrument(span).await;
    StepReport { plan, step, attempt, epoch, result }
}

/// What tests end this process before and after.
fn deed(action: &Action) -> Option<&'static str> {
    match action {
        Action::ShiftDns { .. } => Some("shift-dns"),
        Action::VerifyDns { .. } => Some("verify-dns"),
        Action::VerifyWrite { .. } => Some("verify-write"),
        Action::VerifyService { .. } => Some("verify-service"),
        // Never an agent's.
        Action::Settle { .. } | Action::Fence { .. } | Action::Promote { .. } => None,
    }
}

async fn act(actor: &Actor, task: &Task, wished: Option<&Database>) -> StepResult {
    // A margin, so that the result still arrives in time.
    let within = task.assignment.timeout * 9 / 10;
    match &task.assignment.action {
        Action::ShiftDns { zone, provider, set } => {
            dns::shift(actor, task, zone, provider, set, within).await
        }
        Action::VerifyDns { zone, servers, set } => dns::verify(zone, servers, set, within).await,
        Action::VerifyService { .. } => service::verify(&actor.prober, &task.assignment.checks, within).await,
        Action::VerifyWrite { region } => {
            write::verify(&actor.host, &actor.region, wished, region, within).await
        }
        Action::Settle { pause } => settle(*pause).await,
        // Goals say it, and the keeper of the instance does it.
        Action::Fence { .. } | Action::Promote { .. } => {
            StepResult::Refused { why: "the controllers themselves see to this step".to_owned() }
        }
    }
}

/// The controllers' own; harmless here.
async fn settle(pause: Duration) -> StepResult {
    tokio::time::sleep(pause).await;
    StepResult::Done { note: String::new() }
}
