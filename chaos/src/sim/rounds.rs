//! What the leader answers only once it has proved, by a round that began after it was asked, that it leads: renewals
//! of leases (S1), and up to where whoever reads must have applied the log (S7).

use std::time::Duration;

use decision::command::Command;
use decision::database::Position;
use decision::database::lease::refusal;
use decision::decide::{decide_told, waiting};
use decision::name::{AgentId, ServiceName};
use decision::plan::Epoch;

use super::controller::{Controller, Whose};
use super::ground::Ground;
use super::message::Answer;
use super::planted::Around;

/// Who was not answered yet.
#[derive(Default)]
pub struct Rounds {
    /// Answered when this round is proved.
    under_way: Option<(u64, Vec<Waiting>)>,
    /// Who asked since it began: of the next round.
    next: Vec<Waiting>,
}

pub(super) struct Waiting {
    pub whose: Whose,
    pub wants: Wants,
}

pub(super) enum Wants {
    Lease {
        agent: AgentId,
        service: ServiceName,
        epoch: Epoch,
    },
    /// All that was committed when it asked.
    Index(u64),
}

impl Controller {
    pub(super) fn is_to_renew(
        &mut self,
        whose: Whose,
        (agent, service, epoch): (AgentId, ServiceName, Epoch),
        position: Option<Position>,
        ground: &mut Ground,
    ) {
        let Some((at, term)) = self.now(ground).zip(self.term.as_mut()) else {
            return self.tells(whose, 0, Answer::NotLeader, ground);
        };
        // Before it is noted: what is refused must not put off the end of the lease.
        let is_refused = refusal(&self.state, &agent, &service, epoch).is_some()
            || !term.heard.renew(&service, epoch, position.map(|position| (position, Duration::ZERO)), at);
        if is_refused {
            return self.tells(whose, 0, Answer::Refused, ground);
        }
        if ground.has(Around::RenewsWithoutRound) {
            return self.tells(whose, 0, Answer::Granted, ground);
        }
        self.waits_for_round(whose, Wants::Lease { agent, service, epoch }, ground);
    }

    pub(super) fn waits_for_round(&mut self, whose: Whose, wants: Wants, ground: &mut Ground) {
        self.waiting.next.push(Waiting { whose, wants });
        self.answers_waiting(ground);
    }

    /// Answers those whose round is proved, and begins one for those who wait for the next.
    pub(super) fn answers_waiting(&mut self, ground: &mut Ground) {
        if let Some((_, proved)) = self.waiting.under_way.take_if(|(round, _)| self.raft.proved(*round)) {
            for Waiting { whose, wants } in proved {
                let answer = match wants {
                    Wants::Index(index) => Answer::Index(index),
                    // Once more: from when a fence has begun here, nothing is renewed.
                    Wants::Lease { agent, service, epoch } => {
                        match refusal(&self.state, &agent, &service, epoch) {
                            Some(_) => Answer::Refused,
                            None => Answer::Granted,
                        }
                    }
                };
                self.tells(whose, 0, answer, ground);
            }
        }
        if self.waiting.under_way.is_some() || self.waiting.next.is_empty() {
            return;
        }
        let next = std::mem::take(&mut self.waiting.next);
        match self.raft.next_round() {
            Some(round) => {
                self.waiting.under_way = Some((round, next));
                self.begins_round(false, ground);
            }
            None => {
                next.into_iter().for_each(|waiting| self.tells(waiting.whose, 0, Answer::NotLeader, ground))
            }
        }
    }

    /// It leads no more: what another term proves is not of what this one has noted.
    pub(super) fn answers_nobody(&mut self, ground: &mut Ground) {
        let Rounds { under_way, next } = std::mem::take(&mut self.waiting);
        let under_way = under_way.into_iter().flat_map(|(_, waiting)| waiting);
        for waiting in under_way.chain(next).collect::<Vec<_>>() {
            self.tells(waiting.whose, 0, Answer::NotLeader, ground);
        }
    }

    /// What an agent told, and what the rules say to it at once.
    pub(super) fn with_what_follows(&self, told: &Command, ground: &Ground) -> Command {
        let Some((now, term)) = self.now(ground).zip(self.term.as_ref()) else { return told.clone() };
        if waiting(&self.state, told).is_none() {
            return told.clone();
        }
        let then = decide_told(&self.state, &term.heard.view(), now, std::slice::from_ref(told));
        match then.is_empty() {
            true => told.clone(),
            false => Command::Batch { commands: std::iter::once(told.clone()).chain(then).collect() },
        }
    }
}
