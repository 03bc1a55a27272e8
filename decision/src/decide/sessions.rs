use super::{LeaseView, Round};
use crate::command::Command;
use crate::config::Config;
use crate::planted::{self, Bug};
use crate::state::State;
use crate::time::Time;

/// Sessions that were not heard of for the session timeout are lost. One that was opened was
/// heard of then, whatever this leader remembers.
pub(super) fn expire(
    round: &mut Round,
    config: &Config,
    state: &State,
    view: &LeaseView,
    now: Time,
) -> Vec<Command> {
    let mut lost = Vec::new();
    for (agent, session) in state.sessions.iter().filter(|(_, session)| session.live) {
        let heard = view.heard(agent).max(session.since);
        let is_over = round.passed(now, heard, config.strategy.session_timeout);
        if is_over && !planted::has(Bug::SessionsNeverLost) {
            lost.push(Command::LoseSession { agent: agent.clone() });
        }
    }
    lost
}
