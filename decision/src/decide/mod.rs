//! The leader's rules. `decide` looks at the state and at who was heard of lately, and says what
//! to commit, and why; it also says why it does not act when it does not. Only the leader's rules
//! count, so they may change from version to version; every member checks in `State::apply`.

mod eligible;
mod make;
mod moves;
mod operator;
mod progress;
mod sessions;
mod verdicts;
mod what_if;

use std::collections::BTreeMap;
use std::time::Duration;

pub use operator::{failback, switchover};
pub use what_if::{WhatIf, if_lost};

use crate::command::{Command, Stamped};
use crate::explain::Explanation;
use crate::name::{AgentId, ServiceName};
use crate::state::State;
use crate::time::Time;

/// Far more rounds than any state needs; a bound, so that a faulty rule cannot spin.
const MAX_ROUNDS: usize = 32;

/// What only the leader knows, in its memory: when it last heard of each agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseView {
    /// When this leader's first own entry was applied. It treats every session as heard of then.
    pub since: Time,
    pub heard: BTreeMap<AgentId, Time>,
}

impl LeaseView {
    pub fn heard(&self, agent: &AgentId) -> Time {
        self.heard.get(agent).copied().unwrap_or(self.since).max(self.since)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// To be committed together, in this order.
    pub commands: Vec<Command>,
    /// For each service, why it is moved or left.
    pub explanations: BTreeMap<ServiceName, Explanation>,
    /// When to look again, though nothing else happens.
    pub wake_at: Option<Time>,
}

/// One look: commands are applied to a copy until nothing more follows, so that a failure seen is
/// one commit, not a chain of them.
pub fn decide(state: &State, view: &LeaseView, now: Time) -> Decision {
    let mut copy: Option<State> = None;
    let mut commands = Vec::new();
    let mut round = Round::default();
    for _ in 0..MAX_ROUNDS {
        round = look(copy.as_ref().unwrap_or(state), view, now);
        if round.commands.is_empty() {
            break;
        }
        let next = copy.get_or_insert_with(|| state.clone());
        let index = next.index + 1;
        for command in round.commands.drain(..) {
            next.apply(index, Stamped { at: now, by: "leader".into(), command: command.clone() });
            commands.push(command);
        }
    }
    Decision { commands, explanations: round.explanations, wake_at: round.wake_at }
}

/// One pass over the rules.
#[derive(Default)]
struct Round {
    commands: Vec<Command>,
    explanations: BTreeMap<ServiceName, Explanation>,
    wake_at: Option<Time>,
}

impl Round {
    fn wake(&mut self, at: Time) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether `span` has passed since `from`; if not, looks again when it has.
    fn passed(&mut self, now: Time, from: Time, span: Duration) -> bool {
        let due = from + span;
        if due > now {
            self.wake(due);
        }
        due <= now
    }
}

fn look(state: &State, view: &LeaseView, now: Time) -> Round {
    let mut round = Round::default();
    let Some(config) = &state.config else { return round };
    sessions::expire(&mut round, config, state, view, now);
    if !round.commands.is_empty() {
        return round;
    }
    verdicts::conclude(&mut round, config, state);
    if !round.commands.is_empty() {
        return round;
    }
    progress::advance(&mut round, state, now);
    if !round.commands.is_empty() {
        return round;
    }
    for service in config.services.keys() {
        moves::consider(&mut round, config, state, service, now);
        // One plan a round: the next one must see it.
        if round.commands.iter().any(|command| matches!(command, Command::OpenPlan { .. })) {
            break;
        }
    }
    round
}
