//! The leader's loop: whenever the state changed or a moment came, ask the rules and commit what
//! they say. It takes no input: it reads the state, so a new leader and a restarted one just go on.

use std::sync::Arc;
use std::time::Duration;

use decision::command::{Command, Outcome};
use decision::decide::decide;
use decision::time::Time;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::controller::Controller;
use crate::raft::{ProposeError, Status};

/// Longest time without a look, whatever the rules asked for.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// Shortest time between two looks under load.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(2);
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// Leads whenever this member is elected, until `shutdown`.
pub async fn run(controller: Arc<Controller>, shutdown: CancellationToken) {
    let mut watch = controller.node.watch_status();
    loop {
        let term = tokio::select! {
            () = shutdown.cancelled() => return,
            elected = watch.until(|status| status.is_leader) => match elected {
                Some(status) => status.term,
                None => return,
            },
        };
        // The first entry of the term must be committed and applied before time is stamped anew.
        if controller.node.confirm_leadership(CONFIRM_WITHIN).await.is_err() {
            tokio::time::sleep(LOOK_AT_MOST_EVERY).await;
            continue;
        }
        controller.heard.begin(term, controller.host.clock.now(), controller.state().now);
        tracing::info!(term, "leading");
        let lost = lead(&controller, term, &shutdown).await;
        controller.heard.end();
        tracing::info!(term, "no longer leading");
        if let Some(commands) = lost {
            report(&controller, term, &commands).await;
        }
    }
}

/// Gives what it had decided when it found out that it no longer leads.
async fn lead(controller: &Controller, term: u64, shutdown: &CancellationToken) -> Option<Vec<Command>> {
    let by = controller.name();
    let mut applied = controller.node.view().applied();
    let mut watch = controller.node.watch_status();
    let mut failed = false;
    loop {
        applied.borrow_and_update();
        let (view, now) = controller.heard.view()?;
        let decision = decide(&controller.state(), &view, now);
        if !decision.commands.is_empty() {
            let commands = decision.commands;
            if !controller.heard.seal(&commands) {
                continue;
            }
            if !failed {
                trace(&commands);
            }
            let batch = Command::Batch { commands: commands.clone() };
            match controller.propose_in(Some(term), batch, &by, COMMIT_WITHIN).await {
                Ok(outcome) => {
                    failed = false;
                    controller.heard.unseal();
                    warn_of_refusals(&outcome);
                }
                Err(ProposeError::NotLeader { .. }) => return Some(commands),
                Err(error) => {
                    match std::mem::replace(&mut failed, true) {
                        false => tracing::warn!(%error, "a decision was not committed"),
                        true => tracing::debug!(%error, "a decision was not committed again"),
                    }
                    if !leads(&controller.node.status(), term) {
                        return Some(commands);
                    }
                    // It is made anew from the state that then is.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            continue;
        }
        let wake = wake_at(now, decision.wake_at);
        tokio::time::sleep(LOOK_AT_MOST_EVERY).await;
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep_until(wake) => {}
            changed = applied.changed() => changed.ok()?,
            _ = watch.until(|status| !leads(status, term)) => return None,
        }
    }
}

/// Not whether it leads again.
fn leads(status: &Status, term: u64) -> bool {
    status.is_leader && status.term == term
}

fn wake_at(now: Time, due: Option<Time>) -> Instant {
    let wait = due.map_or(LOOK_AT_LEAST_EVERY, |due| due.since(now)).min(LOOK_AT_LEAST_EVERY);
    Instant::now() + wait
}

pub(crate) fn trace(commands: &[Command]) {
    for command in commands {
        match command {
            Command::OpenPlan { plan, .. } => tracing::info!(
                plan = %plan.id, service = %plan.service, epoch = %plan.epoch,
                "{} from {} to {}: {}", plan.kind, plan.from, plan.to, plan.reason
            ),
            Command::StepDone { plan, step, epoch, result, .. } => {
                tracing::info!(%plan, %step, %epoch, ?result, "step ended");
            }
            Command::Hold { explanation } => {
                tracing::warn!(service = %explanation.service, "not moved: {}", explanation.conclusion);
            }
            command => tracing::debug!(?command, "decided"),
        }
    }
}

fn warn_of_refusals(outcome: &Outcome) {
    if let Some(refusal) = outcome.refusal() {
        tracing::warn!(%refusal, "the state refused what its leader decided");
    }
}

/// A leader that was away and decided on what no longer is: whoever leads now journals that it
/// was refused.
async fn report(controller: &Controller, term: u64, commands: &[Command]) {
    let what = commands.iter().find_map(|command| match command {
        Command::OpenPlan { plan, .. } => {
            Some(format!("{} of {} to {} at epoch {}", plan.kind, plan.service, plan.to, plan.epoch))
        }
        Command::StepDone { plan, step, epoch, .. } => Some(format!("{plan} step {step} at epoch {epoch}")),
        _ => None,
    });
    let Some(what) = what else { return };
    let why = format!("member {} no longer leads: its term {term} is over", controller.node.id());
    let by = controller.name();
    let command = Command::ReportRefusal { what, why };
    if let Err(error) = controller.submit(command, &by, Duration::from_secs(10)).await {
        tracing::warn!(%error, "the new leader could not be told of a stale decision");
    }
}

#[cfg(test)]
mod tests;
