//! One controller: a member of the group, the leader's loop when it leads, and whoever asks it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use decision::command::{Command, Stamped};
use decision::config::Timings;
use decision::decide::{self, decide};
use decision::heard::Heard;
use decision::name::{RegionName, ServiceName};
use decision::plan::Plan;
use decision::state::State;
use decision::time::{Time, Uptime};
use decision::vacancies::Vacancies;

use super::ambush::Phase;
use super::ground::{Ground, Machine};
use super::message::{Answer, Asked, Message};
use super::planted::Around;
use super::queue::Moment;
use super::raft::{Durable, Member, Out, Raft};
use super::rounds::{Rounds, Wants};
use super::sessions::{Purpose, Sessions};
use super::timer::{OfController, Timer};

/// As the leader's loop and the calls of a controller have them.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(2);
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
const FAILED_AGAIN: Duration = Duration::from_millis(50);
const RENEW_WITHIN: Duration = Duration::from_secs(2);
const SUBMIT_WITHIN: Duration = Duration::from_secs(5);
const LEADERLESS_RETRY: Duration = Duration::from_millis(25);

pub struct Controller {
    pub id: Member,
    pub machine: Machine,
    pub name: Rc<str>,
    timings: Timings,
    pub raft: Raft<Stamped>,
    pub applied: u64,
    pub state: Rc<State>,
    /// The newest generation of names that it knows, and since when.
    pub names: (u64, Moment),
    pub(super) vacancies: Vacancies,
    /// Whether its disk is at work, and what is to be said once it has what came since.
    is_writing: bool,
    unsaid: Vec<Out<Stamped>>,
    /// When it last heard of a leader, and how much longer than the leader's lease it waits.
    heard: Uptime,
    patience: Duration,
    /// The newest term in which it was elected.
    elected: Option<u64>,
    /// Up to where the log was committed then, until it has committed more.
    found: Option<u64>,
    /// While it leads, and has proved it.
    pub(super) term: Option<Term>,
    /// Rounds that were not proved yet, and when each began.
    rounds: VecDeque<(u64, Uptime)>,
    proved: Option<Uptime>,
    /// What was proposed here, by its index, with its term.
    proposed: BTreeMap<u64, (u64, Whose)>,
    calls: BTreeMap<u64, Call>,
    called: u64,
    /// When the first of them is overdue, as far as that was looked at.
    overdue: Option<Uptime>,
    /// Calls that wait for a leader to be heard of, and since when.
    leaderless: Vec<(u64, Uptime)>,
    pub(super) waiting: Rounds,
    /// Who reads, and up to where the log must be applied for that.
    reads: Vec<(Machine, u64, u64)>,
    pub sessions: Sessions,
}

pub(super) struct Term {
    pub(super) number: u64,
    begun: Uptime,
    pub(super) heard: Heard,
    /// What was decided and is not committed yet.
    deciding: Option<u64>,
    looks: u64,
}

/// To whom the outcome is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    Rules,
    Own(u64),
    Of(Member, u64),
}

struct Call {
    asked: Rc<Asked>,
    purpose: Purpose,
    until: Uptime,
}

impl Controller {
    pub fn new(id: Member, members: Member, name: &str, timings: Timings) -> Controller {
        Controller {
            id,
            machine: usize::from(id),
            name: name.into(),
            timings,
            raft: Raft::new(id, members),
            applied: 0,
            state: Rc::default(),
            names: (0, Moment(0)),
            vacancies: Vacancies::default(),
            is_writing: false,
            unsaid: Vec::new(),
            heard: Uptime::default(),
            patience: Duration::ZERO,
            elected: None,
            found: None,
            term: None,
            rounds: VecDeque::new(),
            proved: None,
            proposed: BTreeMap::new(),
            calls: BTreeMap::new(),
            called: 0,
            overdue: None,
            leaderless: Vec::new(),
            waiting: Rounds::default(),
            reads: Vec::new(),
            sessions: Sessions::default(),
        }
    }

    pub fn starts(&mut self, ground: &mut Ground) {
        self.heard = ground.uptime(self.machine);
        self.is_patient(ground);
        ground.ring(self.machine, self.lease() + self.patience, Timer::Controller(OfController::Election));
    }

    pub fn crashes(&mut self, ground: &Ground) {
        let keeps_most = if ground.hosts[self.machine].can_flush() { 2 } else { 0 };
        self.raft.crash(ground.chance.below(keeps_most + 1));
        self.is_writing = false;
        self.unsaid.clear();
        // What was applied is found again as it is committed again; a snapshot would give the same.
        (self.applied, self.state, self.vacancies) = (0, Rc::default(), Vacancies::default());
        (self.elected, self.term, self.proved) = (None, None, None);
        self.rounds.clear();
        self.proposed.clear();
        self.calls.clear();
        self.overdue = None;
        self.leaderless.clear();
        self.waiting = Rounds::default();
        self.reads.clear();
        self.sessions = Sessions::default();
    }

    /// Followers vote for nobody else for so long after they heard of a leader.
    fn lease(&self) -> Duration {
        self.timings.election_timeout_max
    }

    fn is_patient(&mut self, ground: &Ground) {
        self.patience =
            ground.chance.between(self.timings.election_timeout_min, self.timings.election_timeout_max);
    }

    pub fn in_term(&self) -> u64 {
        self.raft.term()
    }

    /// Whether it led within the time for which a leader without a majority's answer takes commands.
    pub fn leads(&self, ground: &Ground) -> bool {
        let now = ground.uptime(self.machine);
        self.raft.leads() && self.proved.is_some_and(|proved| now.since(proved) < self.lease() * 2)
    }

    pub fn rings(&mut self, timer: OfController, ground: &mut Ground) {
        match timer {
            OfController::Election => self.election(ground),
            OfController::Heartbeat { term } => self.heartbeat(term, ground),
            OfController::Synced(durable, said) => self.synced(durable, said, ground),
            OfController::Look { term, number } => {
                if self.term.as_ref().is_some_and(|own| own.number == term && own.looks == number) {
                    self.looks(ground);
                }
            }
            OfController::Undecided { term, index } => {
                if let Some(own) = &mut self.term
                    && own.number == term
                    && own.deciding == Some(index)
                {
                    own.deciding = None;
                    self.proposed.remove(&index);
                    self.looks_in(FAILED_AGAIN, ground);
                }
            }
            OfController::Again(call) => self.asks(call, ground),
            OfController::Overdue => self.gives_up_overdue(ground),
            OfController::Direct { session } => self.directs(session, ground),
            OfController::Behind { session } => self.is_behind(session, ground),
        }
    }

    pub fn hears(&mut self, from: Machine, message: Message, ground: &mut Ground) {
        match message {
            Message::Raft(message) => {
                let now = ground.uptime(self.machine);
                let hears_leader = self.raft.leader().is_some() && now.since(self.heard) < self.lease();
                let mut out = Vec::new();
                if self.raft.receives(from as Member, message, hears_leader, &mut out) {
                    self.heard = now;
                }
                self.says(out, ground);
            }
            Message::Ask { call, asked } => self.is_asked(from as Member, call, &asked, ground),
            Message::Answer { call, answer } => self.has_answer(call, answer, ground),
            Message::FromAgent { session, number, said } => {
                self.agent_says(from, session, number, said, ground);
            }
            Message::Call { call, asked } => {
                let within = match *asked {
                    Asked::Renew { .. } => RENEW_WITHIN,
                    _ => SUBMIT_WITHIN,
                };
                self.calls(asked, Purpose::Passes(from, call), within, ground);
            }
            _ => {}
        }
    }

    // Raft.

    fn election(&mut self, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let due = self.heard + self.lease() + self.patience;
        if now >= due && !self.raft.leads() {
            ground.trace.line(ground.queue.now(), || format!("{} hears of no leader", self.name));
            let mut out = Vec::new();
            self.raft.times_out(&mut out);
            self.heard = now;
            self.is_patient(ground);
            self.says(out, ground);
        }
        let due =
            if self.raft.leads() { now + self.lease() } else { self.heard + self.patience + self.lease() };
        ground.ring(self.machine, due.since(now), Timer::Controller(OfController::Election));
    }

    fn heartbeat(&mut self, term: u64, ground: &mut Ground) {
        if !self.raft.leads() || self.raft.term() != term {
            return;
        }
        self.begins_round(true, ground);
        let heartbeat = Timer::Controller(OfController::Heartbeat { term });
        ground.ring(self.machine, self.timings.raft_heartbeat, heartbeat);
    }

    pub(super) fn begins_round(&mut self, is_heartbeat: bool, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let mut out = Vec::new();
        let round = if is_heartbeat { self.raft.heartbeat(&mut out) } else { self.raft.round(&mut out) };
        self.rounds.extend(round.map(|round| (round, now)));
        self.says(out, ground);
    }

    /// Sends what may be sent, has the rest wait for the disk, and sees what has come of it.
    fn says(&mut self, out: Vec<Out<Stamped>>, ground: &mut Ground) {
        let is_synced = self.raft.is_synced() || ground.has(Around::SaysBeforeSync);
        for out in out {
            match out.is_synced_first && !is_synced {
                true => self.unsaid.push(out),
                false => self.send(out, ground),
            }
        }
        self.writes(ground);
        self.goes_on(ground);
    }

    /// One write at a time; what comes meanwhile goes with the next.
    fn writes(&mut self, ground: &mut Ground) {
        if self.is_writing {
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        if self.raft.is_synced() {
            return self.sends(unsaid, ground);
        }
        self.is_writing = true;
        let synced = OfController::Synced(self.raft.unsynced(), unsaid);
        ground.writes(self.machine, Timer::Controller(synced));
    }

    fn synced(&mut self, durable: Durable, said: Vec<Out<Stamped>>, ground: &mut Ground) {
        let committed = self.raft.committed();
        self.is_writing = false;
        self.raft.synced(durable);
        self.sends(said, ground);
        if self.raft.committed() > committed {
            let mut out = Vec::new();
            self.raft.sends(&mut out);
            self.sends(out, ground);
        }
        self.writes(ground);
        self.goes_on(ground);
    }

    fn sends(&self, out: Vec<Out<Stamped>>, ground: &mut Ground) {
        out.into_iter().for_each(|out| self.send(out, ground));
    }

    fn send(&self, Out { to, message, .. }: Out<Stamped>, ground: &mut Ground) {
        ground.send(self.machine, usize::from(to), Message::Raft(message));
    }

    /// After anything that may have moved the log, the term, or a round.
    fn goes_on(&mut self, ground: &mut Ground) {
        while let Some((round, began)) = self.rounds.front().copied() {
            if !self.raft.proved(round) {
                break;
            }
            self.proved = Some(began);
            self.rounds.pop_front();
        }
        self.answers_waiting(ground);
        self.asks_again(ground);
        self.applies(ground);
        if self.raft.leads() && self.elected != Some(self.raft.term()) {
            return self.is_elected(ground);
        }
        match (self.raft.leads(), self.term.as_ref().map(|term| term.number)) {
            (true, None) => self.may_begin_term(ground),
            (true, Some(number)) if number == self.raft.term() => {}
            (_, Some(_)) => self.ends_term(ground),
            (false, None) => {
                self.rounds.clear();
                self.proved = None;
                self.gives_up_proposed(ground);
            }
        }
    }

    fn applies(&mut self, ground: &mut Ground) {
        let before = self.applied;
        while self.applied < self.raft.committed() {
            let index = self.applied + 1;
            let Some(entry) = self.raft.entry(index).cloned() else { break };
            let Some(applied) = ground.ledger.applies(ground.queue.now(), index, &entry) else {
                let (oldest, state) = ground.ledger.oldest();
                (self.applied, self.state) = (oldest, Rc::clone(state));
                continue;
            };
            self.applied = index;
            self.state = Rc::clone(&applied.state);
            if let Some((term, whose)) = self.proposed.remove(&index) {
                let answer = match applied.outcome {
                    Some(outcome) if term == entry.term => Answer::Committed(outcome),
                    _ => Answer::Unknown,
                };
                self.tells(whose, index, answer, ground);
            }
        }
        if self.elected == Some(self.raft.term())
            && self.found.take_if(|found| *found < self.raft.committed()).is_some()
        {
            ground.phases.push(Phase::Commits);
        }
        if self.names.0 != self.state.zone_generation {
            self.names = (self.state.zone_generation, ground.now());
        }
        if self.applied > before {
            self.vacancies.note(&self.state, ground.uptime(self.machine));
            self.answers_reads(ground);
            self.state_changed(ground);
            if self.term.as_ref().is_some_and(|term| term.deciding.is_none()) {
                self.looks_in(LOOK_AT_MOST_EVERY, ground);
            }
        }
    }

    /// All that was committed when it was asked is applied here.
    pub fn reads(&mut self, client: Machine, call: u64, index: u64, ground: &mut Ground) {
        self.reads.push((client, call, index));
        self.answers_reads(ground);
    }

    fn answers_reads(&mut self, ground: &mut Ground) {
        let applied = self.applied;
        for (client, call, _) in self.reads.extract_if(.., |(_, _, index)| *index <= applied) {
            let answer = Answer::Read(Rc::clone(&self.state));
            ground.send(self.machine, client, Message::Called { call, answer });
        }
    }

    // The leader's loop.

    /// From now on it is heard of.
    fn is_elected(&mut self, ground: &mut Ground) {
        let term = self.raft.term();
        (self.elected, self.found) = (Some(term), Some(self.raft.committed()));
        ground.ledger.leads(ground.queue.now(), term, self.id);
        ground.phases.push(Phase::Elected);
        self.rounds.clear();
        self.proved = None;
        self.begins_round(true, ground);
        let heartbeat = Timer::Controller(OfController::Heartbeat { term });
        ground.ring(self.machine, self.timings.raft_heartbeat, heartbeat);
    }

    /// Its first entry is applied, and it has proved since that it leads.
    fn may_begin_term(&mut self, ground: &mut Ground) {
        if self.raft.begun().is_none_or(|first| self.applied < first) || !self.leads(ground) {
            return;
        }
        let number = self.raft.term();
        let begun = ground.uptime(self.machine);
        let wall = ground.hosts[self.machine].clock.wall(ground.queue.now());
        let heard = Heard::new(wall.max(self.state.now));
        ground.trace.line(ground.queue.now(), || format!("{} leads in term {number}", self.name));
        self.term = Some(Term { number, begun, heard, deciding: None, looks: 0 });
        self.looks(ground);
    }

    fn ends_term(&mut self, ground: &mut Ground) {
        self.answers_nobody(ground);
        if let Some(term) = self.term.take() {
            ground
                .trace
                .line(ground.queue.now(), || format!("{} leads no more in term {}", self.name, term.number));
        }
        self.gives_up_proposed(ground);
    }

    fn gives_up_proposed(&mut self, ground: &mut Ground) {
        for (index, (_, whose)) in std::mem::take(&mut self.proposed) {
            self.tells(whose, index, Answer::Unknown, ground);
        }
    }

    fn looks_in(&mut self, after: Duration, ground: &mut Ground) {
        if let Some(term) = &mut self.term {
            term.looks += 1;
            let look = OfController::Look { term: term.number, number: term.looks };
            ground.ring(self.machine, after, Timer::Controller(look));
        }
    }

    fn looks(&mut self, ground: &mut Ground) {
        let Some((now, term)) = self.now(ground).zip(self.term.as_mut()) else { return };
        if term.deciding.is_some() {
            return;
        }
        let decision = decide(&self.state, &term.heard.view(), now);
        if let Some(refused) = decision.refused.first() {
            let detail = format!("the rules want what the state refuses: {refused}");
            ground.ledger.finds(ground.queue.now(), "L1", detail);
        }
        if decision.commands.is_empty() {
            let wait = decision.wake_at.map_or(LOOK_AT_LEAST_EVERY, |due| due.since(now));
            return self.looks_in(wait.clamp(LOOK_AT_MOST_EVERY, LOOK_AT_LEAST_EVERY), ground);
        }
        // S4
        if !term.heard.seal(&decision.commands) {
            return self.looks_in(Duration::ZERO, ground);
        }
        let number = term.number;
        let ends_lease =
            decision.commands.iter().any(|command| matches!(command, Command::ExpireLease { .. }));
        let batch = Command::Batch { commands: decision.commands };
        let name = Rc::clone(&self.name);
        let Some(index) = self.proposes(batch, &name, Whose::Rules, ground) else {
            return self.looks_in(FAILED_AGAIN, ground);
        };
        if ends_lease {
            ground.phases.push(Phase::Expiring);
        }
        if let Some(term) = &mut self.term
            && self.proposed.contains_key(&index)
        {
            term.deciding = Some(index);
            let undecided = OfController::Undecided { term: number, index };
            ground.ring(self.machine, COMMIT_WITHIN, Timer::Controller(undecided));
        }
    }

    /// None: it does not lead, or has gone without a majority's answer for too long.
    fn proposes(&mut self, command: Command, by: &str, whose: Whose, ground: &mut Ground) -> Option<u64> {
        if !self.leads(ground) {
            return None;
        }
        let at = self.now(ground)?;
        let mut out = Vec::new();
        let id = self.raft.propose(Stamped { at, by: by.to_owned(), command }, &mut out)?;
        self.proposed.insert(id.index, (id.term, whose));
        self.says(out, ground);
        Some(id.index)
    }

    pub(super) fn tells(&mut self, whose: Whose, index: u64, answer: Answer, ground: &mut Ground) {
        match whose {
            Whose::Rules => {
                let Some(term) = &mut self.term else { return };
                if term.deciding == Some(index) {
                    term.deciding = None;
                }
                match answer {
                    Answer::Committed(_) => {
                        term.heard.unseal();
                        self.looks_in(Duration::ZERO, ground);
                    }
                    _ => self.looks_in(FAILED_AGAIN, ground),
                }
            }
            Whose::Own(call) => self.has_answer(call, answer, ground),
            Whose::Of(member, call) => {
                ground.send(self.machine, usize::from(member), Message::Answer { call, answer });
            }
        }
    }

    /// The leader's time: it goes on by a clock that nobody sets. None: it does not lead.
    pub(super) fn now(&self, ground: &Ground) -> Option<Time> {
        let term = self.term.as_ref()?;
        if ground.has(Around::TrustsWallClock) {
            return Some(ground.hosts[self.machine].clock.wall(ground.queue.now()));
        }
        Some(term.heard.since() + ground.uptime(self.machine).since(term.begun))
    }

    /// As an operator asks it. False: it does not lead.
    pub fn submits(&mut self, command: Command, by: &str, ground: &mut Ground) -> bool {
        self.proposes(command, by, Whose::Own(0), ground).is_some()
    }

    /// None: it is refused, or this one does not lead.
    pub fn planned_move(&self, service: &ServiceName, to: &RegionName, ground: &Ground) -> Option<Plan> {
        let now = self.now(ground)?;
        decide::switchover(&self.state, now, service, Some(to), "as wished".into()).ok()
    }

    pub fn forced_move(
        &self,
        service: &ServiceName,
        to: Option<&RegionName>,
        allow_data_loss: bool,
        ground: &Ground,
    ) -> Option<Plan> {
        let now = self.now(ground)?;
        decide::force(&self.state, now, service, to, allow_data_loss, "at any price".into()).ok()
    }

    /// Why the service is where it is, as its leader sees it now.
    pub fn explains(&self, service: &ServiceName, ground: &Ground) -> Option<String> {
        let (now, term) = self.now(ground).zip(self.term.as_ref())?;
        let decision = decide(&self.state, &term.heard.view(), now);
        let found = decision.explanations.get(service).map(|found| found.conclusion.clone());
        let plan = self.state.open_plan(service).map(|record| format!("{record:?}"));
        Some(format!("{}; open plan: {plan:?}", found.unwrap_or_default()))
    }

    // What only a leader does.

    pub fn calls(&mut self, asked: Rc<Asked>, purpose: Purpose, within: Duration, ground: &mut Ground) {
        self.called += 1;
        let call = self.called;
        let until = ground.uptime(self.machine) + within;
        self.calls.insert(call, Call { asked, purpose, until });
        self.is_overdue_at(until, ground);
        self.asks(call, ground);
    }

    /// One timer for all calls: most of them are answered long before.
    fn is_overdue_at(&mut self, until: Uptime, ground: &mut Ground) {
        if self.overdue.is_none_or(|overdue| until < overdue) {
            self.overdue = Some(until);
            let left = until.since(ground.uptime(self.machine));
            ground.ring(self.machine, left, Timer::Controller(OfController::Overdue));
        }
    }

    fn gives_up_overdue(&mut self, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        if self.overdue.is_none_or(|overdue| now < overdue) {
            return;
        }
        self.overdue = None;
        let due = self.calls.iter().filter(|(_, call)| call.until <= now).map(|(call, _)| *call);
        for call in due.collect::<Vec<_>>() {
            if let Some(call) = self.calls.remove(&call) {
                self.is_answered(call.purpose, Answer::Unknown, ground);
            }
        }
        if let Some(next) = self.calls.values().map(|call| call.until).min() {
            self.is_overdue_at(next, ground);
        }
    }

    fn asks(&mut self, call: u64, ground: &mut Ground) {
        let Some(found) = self.calls.get(&call) else { return };
        let asked = Rc::clone(&found.asked);
        match self.raft.leader() {
            Some(leader) if leader == self.id => self.does(&asked, Whose::Own(call), ground),
            Some(leader) => {
                ground.send(self.machine, usize::from(leader), Message::Ask { call, asked });
            }
            None => self.leaderless.push((call, ground.uptime(self.machine))),
        }
    }

    /// Whoever waits for a leader looks again and again; only the look that finds one is worth an event.
    fn asks_again(&mut self, ground: &mut Ground) {
        if self.leaderless.is_empty() || self.raft.leader().is_none() {
            return;
        }
        let now = ground.uptime(self.machine);
        for (call, since) in std::mem::take(&mut self.leaderless) {
            let waited = now.since(since).as_nanos() as u64;
            let next = LEADERLESS_RETRY.as_nanos() as u64 - waited % LEADERLESS_RETRY.as_nanos() as u64;
            let again = Timer::Controller(OfController::Again(call));
            ground.ring(self.machine, Duration::from_nanos(next), again);
        }
    }

    fn is_asked(&mut self, from: Member, call: u64, asked: &Asked, ground: &mut Ground) {
        self.does(asked, Whose::Of(from, call), ground);
    }

    fn does(&mut self, asked: &Asked, whose: Whose, ground: &mut Ground) {
        let answer = match (self.now(ground).zip(self.term.as_mut()), asked) {
            (Some((now, term)), Asked::Hear(agent)) => {
                term.heard.note(agent, now);
                Answer::Heard
            }
            (Some(_), Asked::Commit { command, by }) => {
                match self.proposes(Command::clone(command), by, whose, ground) {
                    Some(_) => return,
                    None => Answer::Unknown,
                }
            }
            (Some(_), Asked::Tell { command, by }) => {
                let command = self.with_what_follows(command, ground);
                match self.proposes(command, by, whose, ground) {
                    Some(_) => return,
                    None => Answer::Unknown,
                }
            }
            (Some(_), Asked::Renew { agent, service, epoch, position }) => {
                let lease = (agent.clone(), service.clone(), *epoch);
                return self.is_to_renew(whose, lease, *position, ground);
            }
            (Some(_), Asked::ReadIndex) => {
                let index = self.raft.committed();
                if ground.has(Around::ReadsWithoutRound) {
                    return self.tells(whose, 0, Answer::Index(index), ground);
                }
                return self.waits_for_round(whose, Wants::Index(index), ground);
            }
            (None, _) => Answer::NotLeader,
        };
        self.tells(whose, 0, answer, ground);
    }

    fn has_answer(&mut self, call: u64, answer: Answer, ground: &mut Ground) {
        let Some(found) = self.calls.get(&call) else { return };
        if matches!(answer, Answer::NotLeader) {
            let left = found.until.since(ground.uptime(self.machine));
            let again = Timer::Controller(OfController::Again(call));
            // At its end it is overdue.
            if !left.is_zero() {
                ground.ring(self.machine, LEADERLESS_RETRY.min(left), again);
            }
            return;
        }
        let Some(Call { purpose, .. }) = self.calls.remove(&call) else { return };
        self.is_answered(purpose, answer, ground);
    }
}
