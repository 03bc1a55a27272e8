//! What follows from what an agent tells of its database, so that both are one commit: while nobody may
//! write, each commit is a round trip that its clients wait for.

use super::{LeaseView, decide};
use crate::command::{Command, Outcome, Stamped};
use crate::name::ServiceName;
use crate::state::State;
use crate::time::Time;

/// To be committed after `told`, together with it. The state checks each as if it came alone; nothing
/// follows where `told` would be refused. For what [`is_waited_for`]; of anything else the next look is soon enough.
pub fn decide_told(state: &State, view: &LeaseView, now: Time, told: &Command) -> Vec<Command> {
    let mut copy = state.clone();
    let stamped = Stamped { at: now, by: "told".into(), command: told.clone() };
    let Outcome::Applied { .. } = copy.apply(state.index + 1, stamped) else { return Vec::new() };
    let commands = decide(&copy, view, now).commands;
    // The end of a lease is sealed in the leader's memory first (S4): its own loop does that.
    match commands.iter().any(|command| matches!(command, Command::ExpireLease { .. })) {
        true => Vec::new(),
        false => commands,
    }
}

/// Whether a move may be waiting for what an agent tells.
pub fn is_waited_for(state: &State, told: &Command) -> bool {
    let is_moving = |service: &ServiceName| {
        state.databases.get(service).is_some_and(|held| held.vacancy().is_some())
            || state.open_plan(service).is_some()
    };
    match told {
        Command::ReleaseLease { .. } => true,
        Command::ReportInstance { service, .. } => is_moving(service),
        _ => false,
    }
}
