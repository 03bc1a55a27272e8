//! One agent: its session with some controller, what it finds, and the steps that it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use decision::command::AgentInfo;
use decision::config::Timings;
use decision::dns::RecordSet;
use decision::goal::{Assignment, Goal};
use decision::name::AgentId;
use decision::plan::{Action, PlanId, StepId, StepResult};
use decision::sick::SelfHealth;
use decision::time::Uptime;
use decision::turns::Turns;
use wire::agent::{FromAgent, StepReport, ToAgent};

use super::ground::{Ground, Machine};
use super::message::Message;
use super::planted::Around;
use super::queue::Moment;
use super::timer::{OfAgent, Timer};
use super::watch::Watch;

/// As an agent's session has them.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_secs(30);
const UNANSWERED_HEARTBEATS: u32 = 3;
const ELECTION: Duration = Duration::from_millis(300);
const OPENING: Duration = Duration::from_millis(500);

pub type Attempt = (PlanId, StepId, u32);

pub struct Agent {
    pub id: AgentId,
    pub machine: Machine,
    pub timings: Timings,
    /// Those of the own region first.
    controllers: Vec<Machine>,
    turns: Turns,
    session: Option<Session>,
    opened: u64,
    /// On its disk, and in force.
    pub goal: Rc<Goal>,
    /// Whether a controller gave it since this process began.
    pub is_live: bool,
    pub watch: Watch,
    pub health: SelfHealth,
    /// When a controller was last heard of.
    pub contact: Uptime,
    /// Steps under way, and results that are not acknowledged, or may be asked for again.
    running: BTreeMap<(PlanId, StepId), u32>,
    done: BTreeMap<Attempt, StepReport>,
    unacknowledged: BTreeSet<Attempt>,
    /// Whether they are to be told again.
    resends: bool,
    refusals: Vec<(String, String)>,
}

struct Session {
    number: u64,
    /// Which of the controllers.
    controller: usize,
    is_welcome: bool,
    welcomed: Moment,
    was_acknowledged: bool,
    last_ack: Uptime,
    sequence: u64,
    /// How much was said, and heard.
    said: u64,
    heard: u64,
}

impl Agent {
    pub fn new(id: AgentId, machine: Machine, controllers: Vec<Machine>, timings: Timings) -> Agent {
        Agent {
            id,
            machine,
            timings,
            turns: Turns::new(controllers.len()),
            controllers,
            session: None,
            opened: 0,
            goal: Rc::default(),
            is_live: false,
            watch: Watch::default(),
            health: SelfHealth::default(),
            contact: Uptime::default(),
            running: BTreeMap::new(),
            done: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            resends: false,
            refusals: Vec::new(),
        }
    }

    pub fn heartbeat(&self) -> Duration {
        if self.goal.heartbeat.is_zero() { FIRST_HEARTBEAT } else { self.goal.heartbeat }
    }

    pub fn starts(&mut self, ground: &mut Ground) {
        self.contact = ground.uptime(self.machine);
        self.watches(ground);
        self.judges_itself(ground);
        self.dials(ground);
    }

    /// Its goal is on its disk, and nothing else.
    pub fn crashes(&mut self) {
        let (goal, opened) = (Rc::clone(&self.goal), self.opened);
        let watch = Watch::of(std::mem::take(&mut self.watch.regions));
        let (id, controllers) = (self.id.clone(), self.controllers.clone());
        *self = Agent { goal, opened, watch, ..Agent::new(id, self.machine, controllers, self.timings) };
    }

    pub fn rings(&mut self, timer: OfAgent, ground: &mut Ground) {
        match timer {
            OfAgent::Dial => self.hello(ground),
            OfAgent::Unopened(session) => {
                if self.session.as_ref().is_some_and(|own| own.number == session && !own.is_welcome) {
                    self.hangs_up(false, ground);
                }
            }
            OfAgent::Beat(session) if self.is_in(session) => self.beats(ground),
            OfAgent::Refresh(session) if self.is_in(session) => {
                self.watch.book.refresh();
                self.speaks(ground);
                ground.ring(self.machine, REFRESH, Timer::Agent(OfAgent::Refresh(session)));
            }
            OfAgent::Resend(session) if self.is_in(session) => {
                self.resends = false;
                self.reports(ground);
            }
            OfAgent::Beat(_) | OfAgent::Refresh(_) | OfAgent::Resend(_) => {}
            OfAgent::Probe { generation, check } => self.probes(generation, check, ground),
            OfAgent::Failed { generation, check, began } => {
                self.has_probed(generation, check, false, began, ground);
            }
            OfAgent::Judge => self.judges_itself(ground),
            OfAgent::Done(report) => self.is_done(*report, ground),
        }
    }

    pub fn hears(&mut self, message: Message, ground: &mut Ground) {
        match message {
            Message::ToAgent { session, number, said } if self.is_in(session) => {
                self.contact = ground.uptime(self.machine);
                let Some(own) = &mut self.session else { return };
                own.heard += 1;
                if number != own.heard {
                    return self.hangs_up(false, ground);
                }
                self.is_told(session, said, ground);
            }
            Message::Ended { session } if self.is_in(session) => self.hangs_up(false, ground),
            _ => {}
        }
    }

    fn is_in(&self, session: u64) -> bool {
        self.session.as_ref().is_some_and(|own| own.number == session)
    }

    /// Which controller it has a session with, and since when.
    pub fn is_served_by(&self) -> Option<(Machine, Moment)> {
        let own = self.session.as_ref().filter(|own| own.is_welcome)?;
        Some((self.controllers[own.controller], own.welcomed))
    }

    /// What its server answers, also by what is on its disk alone.
    pub fn names(&self) -> Option<&RecordSet> {
        self.goal.zones.first()?.records.first()
    }

    // The session.

    fn dials(&mut self, ground: &mut Ground) {
        let turn = self.turns.next(|bound| ground.chance.below(bound));
        self.opened += 1;
        self.session = Some(Session {
            number: self.opened << 8 | self.machine as u64,
            controller: turn.controller,
            is_welcome: false,
            welcomed: Moment(0),
            was_acknowledged: false,
            last_ack: Uptime::default(),
            sequence: 0,
            said: 0,
            heard: 0,
        });
        ground.ring(self.machine, turn.pause, Timer::Agent(OfAgent::Dial));
    }

    fn hello(&mut self, ground: &mut Ground) {
        let Some(Session { number, controller, .. }) = self.session else { return };
        // Whoever takes a connection is there, also one without a leader.
        let to = self.controllers[controller];
        let host = &ground.hosts[to];
        if host.is_up() && host.pauses == 0 && ground.net.is_open_both_ways(self.machine, to) {
            self.contact = ground.uptime(self.machine);
        }
        let heartbeat = self.heartbeat();
        let connect = (heartbeat * 4).clamp(Duration::from_millis(500), Duration::from_secs(3));
        let patience = connect + OPENING + heartbeat * UNANSWERED_HEARTBEATS;
        ground.ring(self.machine, patience, Timer::Agent(OfAgent::Unopened(number)));
        let info = AgentInfo {
            dns: Some(format!("192.0.2.{}:53", self.machine)),
            version: "1.0.0".into(),
            peer: Some(format!("192.0.2.{}:7405", self.machine)),
        };
        let held_generation = self.goal.generation;
        let said = FromAgent::Hello { agent: self.id.clone(), info, held_generation };
        self.says(said, ground);
    }

    fn says(&mut self, said: FromAgent, ground: &mut Ground) {
        let Some(own) = &mut self.session else { return };
        own.said += 1;
        let message = Message::FromAgent { session: own.number, number: own.said, said };
        ground.send(self.machine, self.controllers[own.controller], message);
    }

    fn is_welcome(&self) -> bool {
        self.session.as_ref().is_some_and(|own| own.is_welcome)
    }

    fn hangs_up(&mut self, was_silent: bool, ground: &mut Ground) {
        let Some(session) = self.session.take() else { return };
        ground.trace.line(ground.queue.now(), || {
            format!("agent {} has no session with controller {} any more", self.id, session.controller)
        });
        self.turns.ended(session.controller, session.was_acknowledged, was_silent);
        self.dials(ground);
    }

    fn is_told(&mut self, session: u64, said: ToAgent, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        match said {
            ToAgent::Welcome { .. } => {
                if let Some(own) = &mut self.session {
                    (own.is_welcome, own.welcomed) = (true, ground.queue.now());
                    own.last_ack = now + OPENING;
                }
                self.watch.book.refresh();
                self.unacknowledged = self.done.keys().copied().collect();
                self.resends = false;
                self.reports(ground);
                ground.ring(self.machine, Duration::ZERO, Timer::Agent(OfAgent::Beat(session)));
                ground.ring(self.machine, REFRESH, Timer::Agent(OfAgent::Refresh(session)));
                self.speaks(ground);
            }
            ToAgent::Goal(goal) => self.is_offered(*goal, ground),
            ToAgent::HeartbeatAck { .. } => {
                if let Some(own) = &mut self.session {
                    own.was_acknowledged = true;
                    own.last_ack = own.last_ack.max(now);
                }
            }
            ToAgent::StepAck { plan, step, attempt } => {
                self.unacknowledged.remove(&(plan, step, attempt));
            }
        }
    }

    fn beats(&mut self, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let heartbeat = self.heartbeat();
        let Some(own) = &mut self.session else { return };
        if now.since(own.last_ack) > heartbeat * UNANSWERED_HEARTBEATS + ELECTION {
            return self.hangs_up(true, ground);
        }
        own.sequence += 1;
        let (number, sequence) = (own.number, own.sequence);
        self.says(FromAgent::Heartbeat { sequence }, ground);
        ground.ring(self.machine, heartbeat, Timer::Agent(OfAgent::Beat(number)));
    }

    /// Tells what is untold.
    pub fn speaks(&mut self, ground: &mut Ground) {
        if !self.is_welcome() {
            return;
        }
        for (what, why) in std::mem::take(&mut self.refusals) {
            self.says(FromAgent::Refusal { what, why }, ground);
        }
        let findings = self.watch.book.take(ground.uptime(self.machine));
        if !findings.is_empty() {
            self.says(FromAgent::Evidence { findings }, ground);
        }
    }

    // Its goal.

    /// S2
    fn is_offered(&mut self, goal: Goal, ground: &mut Ground) {
        if goal.generation < self.goal.generation && !ground.has(Around::TakesOlderGoals) {
            let what = format!("goal of generation {}", goal.generation);
            let why = format!("generation {} is held", self.goal.generation);
            self.refusals.push((what, why));
            return self.speaks(ground);
        }
        let is_same_watch = self.goal.checks == goal.checks;
        (self.goal, self.is_live) = (Rc::new(goal), true);
        if !is_same_watch {
            self.watches(ground);
        }
        self.works(ground);
    }

    // Its steps.

    fn works(&mut self, ground: &mut Ground) {
        let goal = Rc::clone(&self.goal);
        let named: BTreeSet<Attempt> =
            goal.assignments.iter().map(|given| (given.plan, given.step, given.attempt)).collect();
        self.done.retain(|attempt, _| named.contains(attempt));
        for given in &goal.assignments {
            let attempt = (given.plan, given.step, given.attempt);
            if self.done.contains_key(&attempt) {
                self.unacknowledged.insert(attempt);
                continue;
            }
            if self.running.contains_key(&(given.plan, given.step)) {
                continue;
            }
            self.running.insert((given.plan, given.step), given.attempt);
            let (result, takes) = self.carries_out(given, ground);
            let Assignment { plan, step, attempt, epoch, .. } = *given;
            let report = Box::new(StepReport { plan, step, attempt, epoch, result });
            ground.ring(self.machine, takes, Timer::Agent(OfAgent::Done(report)));
        }
        self.reports(ground);
    }

    fn carries_out(&self, given: &Assignment, ground: &Ground) -> (StepResult, Duration) {
        let done = |note: &str| StepResult::Done { note: note.to_owned() };
        let soon = ground.chance.between(Duration::from_millis(5), Duration::from_millis(150));
        let failed = |why: &str| (StepResult::Failed { why: why.to_owned() }, given.timeout * 9 / 10);
        match &given.action {
            Action::VerifyService { .. } => {
                match given.checks.iter().all(|check| self.reaches(&check.region, ground)) {
                    true => (done("all checks pass"), soon),
                    false => failed("a check fails"),
                }
            }
            Action::Settle { pause } => (done(""), *pause),
            Action::Fence { .. } | Action::Promote { .. } => {
                (StepResult::Refused { why: "the controllers themselves see to this step".into() }, soon)
            }
            _ => (done("done"), soon),
        }
    }

    fn is_done(&mut self, report: StepReport, ground: &mut Ground) {
        self.running.remove(&(report.plan, report.step));
        let attempt = (report.plan, report.step, report.attempt);
        self.done.insert(attempt, report);
        self.unacknowledged.insert(attempt);
        self.works(ground);
    }

    /// Again and again until each is acknowledged.
    fn reports(&mut self, ground: &mut Ground) {
        let Some(Session { number, is_welcome: true, .. }) = self.session else { return };
        let unacknowledged = self.unacknowledged.iter().filter_map(|attempt| self.done.get(attempt));
        for report in unacknowledged.cloned().collect::<Vec<_>>() {
            self.says(FromAgent::Step(report), ground);
        }
        if !self.unacknowledged.is_empty() && !std::mem::replace(&mut self.resends, true) {
            let again = Duration::from_secs(1).max(self.heartbeat() * 3);
            ground.ring(self.machine, again, Timer::Agent(OfAgent::Resend(number)));
        }
    }
}
