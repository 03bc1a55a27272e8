//! Where a plan's entries go into the log, for tests that end a leader exactly there.

use decision::command::Command;
use decision::event::Event;
use decision::plan::{Action, Plan, PlanId, StepId};
use decision::state::State;
use wire::failpoint;

pub(crate) fn before_proposing(state: &State, command: &Command) {
    entries(state, &flat(command)).into_iter().for_each(failpoint::before);
}

/// `since`: the journal's last entry before.
pub(crate) fn after_applying(state: &State, since: u64) {
    let events = state.journal.after(since).map(|entry| &entry.event);
    events.filter_map(|event| written(state, event)).for_each(failpoint::after);
}

fn flat(command: &Command) -> Vec<&Command> {
    match command {
        Command::Batch { commands } => commands.iter().flat_map(flat).collect(),
        command => vec![command],
    }
}

/// What will be in the journal, if nothing is refused.
fn entries(state: &State, commands: &[&Command]) -> Vec<&'static str> {
    let step = |id: &PlanId, step: &StepId| {
        // It may be opened by the same entry of the log.
        let opened = commands.iter().find_map(|command| match command {
            Command::OpenPlan { plan, .. } if plan.id == *id => Some(plan),
            _ => None,
        });
        let plan = opened.or_else(|| Some(&state.plans.get(id)?.plan))?;
        action(plan, *step)
    };
    let entry = |command: &&Command| match command {
        Command::OpenPlan { .. } => Some("plan-opened"),
        Command::StartStep { plan, step: of, .. } => begun(step(plan, of)?),
        Command::StepDone { plan, step: of, .. } => done(step(plan, of)?),
        Command::ReleaseLease { .. } | Command::ExpireLease { .. } => Some("lease-ended"),
        Command::EndPlan { .. } => Some("plan-ended"),
        _ => None,
    };
    commands.iter().filter_map(entry).collect()
}

fn written(state: &State, event: &Event) -> Option<&'static str> {
    let step = |plan: &PlanId, step: &StepId| action(&state.plans.get(plan)?.plan, *step);
    match event {
        Event::PlanOpened { .. } => Some("plan-opened"),
        Event::StepStarted { plan, step: of, .. } => begun(step(plan, of)?),
        Event::StepEnded { plan, step: of, .. } => done(step(plan, of)?),
        Event::LeaseEnded { .. } => Some("lease-ended"),
        Event::PlanEnded { .. } => Some("plan-ended"),
        _ => None,
    }
}

fn action(plan: &Plan, step: StepId) -> Option<&Action> {
    plan.steps.iter().find(|planned| planned.id == step).map(|planned| &planned.action)
}

fn begun(action: &Action) -> Option<&'static str> {
    match action {
        Action::Fence { .. } => Some("fence-begun"),
        Action::Promote { .. } => Some("promote-begun"),
        // Of others: in Regent's own zones it is done as it begins.
        Action::ShiftDns { .. } => Some("shift-dns-begun"),
        Action::VerifyDns { .. } => Some("verify-dns-begun"),
        Action::VerifyWrite { .. } => Some("verify-write-begun"),
        Action::VerifyService { .. } => Some("verify-service-begun"),
        // No plan of a database settles.
        Action::Settle { .. } => None,
    }
}

fn done(action: &Action) -> Option<&'static str> {
    match action {
        Action::Fence { .. } => Some("fence-done"),
        Action::Promote { .. } => Some("promote-done"),
        Action::ShiftDns { .. } => Some("shift-dns-done"),
        Action::VerifyDns { .. } => Some("verify-dns-done"),
        Action::VerifyWrite { .. } => Some("verify-write-done"),
        Action::VerifyService { .. } => Some("verify-service-done"),
        Action::Settle { .. } => None,
    }
}
