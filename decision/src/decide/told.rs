//! What follows from what an agent tells of its database, so that both are one commit: while nobody may
//! write, each commit is a round trip that its clients wait for.

use super::{LeaseView, decide};
use crate::command::{Command, Outcome, Stamped};
use crate::name::ServiceName;
use crate::state::State;
use crate::time::Time;

/// To be committed after the last of `told`, together with it; those before it are on their way into the
/// log, and true whether they get there or not. The state checks each as if it came alone; nothing follows
/// where the last would be refused. For what [`waiting`] gives a service of: of anything else the next look is
/// soon enough.
pub fn decide_told(state: &State, view: &LeaseView, now: Time, told: &[Command]) -> Vec<Command> {
    let mut copy = state.clone();
    let mut is_news = false;
    for told in told {
        let stamped = Stamped { at: now, by: "told".into(), command: told.clone() };
        is_news = matches!(copy.apply(copy.index + 1, stamped), Outcome::Applied { .. });
    }
    if !is_news {
        return Vec::new();
    }
    let commands = decide(&copy, view, now).commands;
    // The end of a lease is sealed in the leader's memory first (S4): its own loop does that.
    match commands.iter().any(|command| matches!(command, Command::ExpireLease { .. })) {
        true => Vec::new(),
        false => commands,
    }
}

/// The service of which a move may be waiting for what an agent tells.
pub fn waiting<'a>(state: &State, told: &'a Command) -> Option<&'a ServiceName> {
    let is_moving = |service: &ServiceName| {
        state.databases.get(service).is_some_and(|held| held.vacancy().is_some())
            || state.open_plan(service).is_some()
    };
    match told {
        Command::ReleaseLease { service, .. } => Some(service),
        Command::ReportInstance { service, .. } => Some(service).filter(|service| is_moving(service)),
        _ => None,
    }
}
