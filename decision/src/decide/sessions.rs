use super::{LeaseView, Round};
use crate::command::Command;
use crate::config::Config;
use crate::state::State;
use crate::time::Time;

/// Sessions that were not heard of for the session timeout are lost.
pub(super) fn expire(round: &mut Round, config: &Config, state: &State, view: &LeaseView, now: Time) {
    for (agent, _) in state.sessions.iter().filter(|(_, session)| session.live) {
        if round.passed(now, view.heard(agent), config.strategy.session_timeout) {
            round.commands.push(Command::LoseSession { agent: agent.clone() });
        }
    }
}
