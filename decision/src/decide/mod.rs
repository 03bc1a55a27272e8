//! The leader's rules. `decide` looks at the state and at who was heard of lately, and says what
//! to commit, and why; it also says why it does not act when it does not. Only the leader's rules
//! count, so they may change from version to version; every member checks in `State::apply`.

mod alone;
mod database;
mod drills;
mod eligible;
mod failover;
mod force;
mod home;
mod make;
mod moves;
mod operator;
mod progress;
mod publish;
mod sessions;
#[cfg(test)]
mod tests;
mod told;
mod verdicts;
mod weigh;
mod what_if;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use database::{lost, too_few_vantages};
pub(crate) use eligible::may_take_over;
pub use force::{force, forceable};
pub use operator::{failback, movable, switchover};
pub use told::{decide_told, waiting};
pub use what_if::{WhatIf, if_lost};

use crate::command::{Command, Outcome, Refusal, Stamped};
use crate::database::Position;
use crate::explain::Explanation;
use crate::name::{AgentId, ServiceName};
use crate::plan::Epoch;
use crate::planted::{self, Bug};
use crate::state::State;
use crate::time::Time;
use crate::verdict::Picture;

/// Far more passes than any state needs; a bound, so that a faulty rule cannot spin.
const MAX_PASSES: usize = 32;

/// What only the leader knows, in its memory: when it last heard of each agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseView {
    /// When this leader's first own entry was applied. It treats every session as heard of then.
    pub since: Time,
    pub heard: BTreeMap<AgentId, Time>,
    /// The newest renewal of each database's lease.
    pub renewals: BTreeMap<ServiceName, Renewal>,
}

/// A renewal that the leader took in, answered or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub epoch: Epoch,
    pub heard: Time,
    /// What the primary had written at `told_at`, if it told: a primary that cannot be asked is renewed, too.
    pub position: Option<Position>,
    pub told_at: Time,
}

impl LeaseView {
    pub fn heard(&self, agent: &AgentId) -> Time {
        self.heard.get(agent).copied().unwrap_or(self.since).max(self.since)
    }

    /// From when a lease that was granted at `granted` must be counted: a new leader does not know
    /// what the one before it has answered.
    pub fn renewed(&self, service: &ServiceName, epoch: Epoch, granted: Time) -> Renewal {
        let floor = if planted::has(Bug::NewLeaderForgets) { granted } else { self.since.max(granted) };
        match self.renewals.get(service).filter(|renewal| renewal.epoch == epoch) {
            Some(renewal) => Renewal { heard: renewal.heard.max(floor), ..*renewal },
            None => Renewal { epoch, heard: floor, position: None, told_at: floor },
        }
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
    /// What the rules wanted and the state would refuse: left out of `commands`, which would be
    /// refused again at every look. Empty unless a rule is faulty.
    pub refused: Vec<Refusal>,
}

/// One look: commands are applied to a copy until nothing more follows, so that a failure seen is
/// one commit, not a chain of them.
pub fn decide(state: &State, view: &LeaseView, now: Time) -> Decision {
    let Some(config) = state.config.as_deref() else { return Decision::default() };
    // A leader whose clock lies behind the log lives in the log's time.
    let now = now.max(state.now);
    let mut desk = Desk::new(state, now);
    let mut sessions = Round::default();
    for command in sessions::expire(&mut sessions, config, state, view, now) {
        desk.put(command);
    }
    for command in database::expire(&mut sessions, config, desk.state(), view, now) {
        desk.put(command);
    }
    for command in alone::agreed(desk.state()) {
        desk.put(command);
    }
    if let Some(command) = drills::end(&mut sessions, desk.state(), now) {
        desk.put(command);
    }
    // Neither plans nor steps change what the evidence says.
    let found = Picture::new(config, desk.state()).conclude();
    for command in verdicts::changed(&found, desk.state()) {
        desk.put(command);
    }
    let mut round = Round::default();
    for _ in 0..MAX_PASSES {
        round = Round { wake_at: sessions.wake_at, ..Round::default() };
        let before = desk.commands.len();
        for command in progress::advance(&mut round, desk.state(), now) {
            desk.put(command);
        }
        for service in config.services.keys() {
            let times = (now, view.since);
            if let Some(command) = moves::consider(&mut round, config, desk.state(), &found, service, times) {
                desk.put(command);
            }
        }
        if desk.commands.len() == before {
            break;
        }
    }
    let Desk { commands, refused, .. } = desk;
    Decision { commands, explanations: round.explanations, wake_at: round.wake_at, refused }
}

/// The commands so far, and the state as it will be with them.
struct Desk<'a> {
    given: &'a State,
    copy: Option<State>,
    now: Time,
    commands: Vec<Command>,
    refused: Vec<Refusal>,
}

impl<'a> Desk<'a> {
    fn new(given: &'a State, now: Time) -> Self {
        Self { given, copy: None, now, commands: Vec::new(), refused: Vec::new() }
    }

    fn state(&self) -> &State {
        self.copy.as_ref().unwrap_or(self.given)
    }

    /// Keeps what changes something.
    fn put(&mut self, command: Command) {
        let next = self
            .copy
            .get_or_insert_with(|| State { journal: self.given.journal.muted(), ..self.given.clone() });
        let stamped = Stamped { at: self.now, by: "leader".into(), command: command.clone() };
        match next.apply(self.given.index + 1, stamped) {
            Outcome::Refused { refusal } if !self.refused.contains(&refusal) => self.refused.push(refusal),
            Outcome::Refused { .. } | Outcome::Unchanged => {}
            Outcome::Applied { .. } | Outcome::Batch { .. } => self.commands.push(command),
        }
    }
}

/// What one pass over the rules finds besides commands.
#[derive(Default)]
struct Round {
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
