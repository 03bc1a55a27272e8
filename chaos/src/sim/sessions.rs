//! The agents' sessions with one controller.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use decision::command::{AgentInfo, Command};
use decision::goal::{self, Goal};
use decision::name::AgentId;
use wire::agent::{FromAgent, StepReport, ToAgent};

use super::controller::Controller;
use super::ground::{Ground, Machine};
use super::message::{Answer, Asked, Message};
use super::planted::Around;
use super::timer::{OfController, Timer};

/// As a controller serves sessions.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(5);
const SUBMIT_WITHIN: Duration = Duration::from_secs(5);
const HEARD_WITHIN: Duration = Duration::from_secs(1);
const GOAL_AT_MOST_EVERY: Duration = Duration::from_millis(5);

/// By their numbers, which the agents give.
pub type Sessions = BTreeMap<u64, Serving>;

pub struct Serving {
    agent: AgentId,
    machine: Machine,
    by: Rc<str>,
    stage: Stage,
    /// What the agent said and is not committed yet, in its order; the first is under way.
    queue: VecDeque<FromAgent>,
    /// The newest heartbeat that is not acknowledged, and the one that the leader is told of now.
    beat: Option<u64>,
    beats: bool,
    sent: Option<Goal>,
    is_directed: bool,
    /// How much was said, and heard.
    said: u64,
    heard: u64,
}

enum Stage {
    /// This controller is behind what the agent holds.
    Behind {
        info: AgentInfo,
        held_generation: u64,
    },
    Opening,
    Open,
}

/// What a call to the leader is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Opens(u64),
    /// None: not a heartbeat, but that the session is open.
    Beats(u64, Option<u64>),
    Carries(u64),
    /// For an agent that asks beside its session.
    Passes(Machine, u64),
}

impl Controller {
    pub fn agent_says(
        &mut self,
        from: Machine,
        session: u64,
        number: u64,
        said: FromAgent,
        ground: &mut Ground,
    ) {
        if let FromAgent::Hello { agent, info, held_generation } = said {
            return self.is_greeted(from, session, agent, info, held_generation, ground);
        }
        let Some(serving) = self.sessions.get_mut(&session) else {
            return ground.send(self.machine, from, Message::Ended { session });
        };
        serving.heard += 1;
        if number != serving.heard {
            return self.ends(session, ground);
        }
        match said {
            FromAgent::Heartbeat { sequence } => {
                serving.beat = Some(sequence);
                self.beats(session, ground);
            }
            said => {
                serving.queue.push_back(said);
                if serving.queue.len() == 1 {
                    self.carries(session, ground);
                }
            }
        }
    }

    fn is_greeted(
        &mut self,
        machine: Machine,
        session: u64,
        agent: AgentId,
        info: AgentInfo,
        held_generation: u64,
        ground: &mut Ground,
    ) {
        // The agent has given up what it had here before.
        self.sessions.retain(|_, serving| serving.agent != agent);
        let by = format!("agent/{agent}").into();
        // Whether it is behind what the agent holds or not.
        let early = ground.has(Around::TakesOlderGoals).then(|| goal::of_agent(&self.state, &agent));
        let serving = Serving {
            agent,
            machine,
            by,
            stage: Stage::Behind { info, held_generation },
            queue: VecDeque::new(),
            beat: None,
            beats: false,
            sent: None,
            is_directed: false,
            said: 0,
            heard: 1,
        };
        self.sessions.insert(session, serving);
        if let Some(goal) = early {
            self.tells_agent(session, ToAgent::Goal(Box::new(goal)), ground);
        }
        ground.ring(self.machine, CATCH_UP_WITHIN, Timer::Controller(OfController::Behind { session }));
        self.may_open(session, ground);
    }

    fn may_open(&mut self, session: u64, ground: &mut Ground) {
        let applied = self.applied;
        let Some(serving) = self.sessions.get_mut(&session) else { return };
        let Stage::Behind { info, held_generation } = &serving.stage else { return };
        if applied < *held_generation {
            return;
        }
        let command = Command::OpenSession { agent: serving.agent.clone(), info: info.clone() };
        serving.stage = Stage::Opening;
        let asked = Asked::Commit { command: Rc::new(command), by: Rc::clone(&serving.by) };
        self.calls(Rc::new(asked), Purpose::Opens(session), SUBMIT_WITHIN, ground);
    }

    pub fn is_behind(&mut self, session: u64, ground: &mut Ground) {
        if self.sessions.get(&session).is_some_and(|serving| matches!(serving.stage, Stage::Behind { .. })) {
            self.ends(session, ground);
        }
    }

    fn ends(&mut self, session: u64, ground: &mut Ground) {
        if let Some(serving) = self.sessions.remove(&session) {
            ground.send(self.machine, serving.machine, Message::Ended { session });
        }
    }

    fn tells_agent(&mut self, session: u64, said: ToAgent, ground: &mut Ground) {
        let Some(serving) = self.sessions.get_mut(&session) else { return };
        serving.said += 1;
        let message = Message::ToAgent { session, number: serving.said, said };
        ground.send(self.machine, serving.machine, message);
    }

    fn beats(&mut self, session: u64, ground: &mut Ground) {
        let Some(serving) = self.sessions.get_mut(&session) else { return };
        if serving.beats || !matches!(serving.stage, Stage::Open) {
            return;
        }
        let Some(sequence) = serving.beat.take() else { return };
        serving.beats = true;
        let asked = Asked::Hear(serving.agent.clone());
        self.calls(Rc::new(asked), Purpose::Beats(session, Some(sequence)), HEARD_WITHIN, ground);
    }

    /// Has the first of its queue committed.
    fn carries(&mut self, session: u64, ground: &mut Ground) {
        let Some(serving) = self.sessions.get(&session) else { return };
        let (Some(said), Stage::Open) = (serving.queue.front(), &serving.stage) else { return };
        let command = match said.clone() {
            FromAgent::Evidence { findings } => {
                Command::Evidence { vantage: serving.agent.clone(), findings }
            }
            FromAgent::Step(StepReport { plan, step, attempt, epoch, result }) => {
                Command::StepDone { plan, step, attempt, epoch, result }
            }
            FromAgent::Refusal { what, why } => Command::ReportRefusal { what, why },
            FromAgent::Hello { .. } | FromAgent::Heartbeat { .. } => return,
        };
        let asked = Asked::Commit { command: Rc::new(command), by: Rc::clone(&serving.by) };
        self.calls(Rc::new(asked), Purpose::Carries(session), SUBMIT_WITHIN, ground);
    }

    pub fn is_answered(&mut self, purpose: Purpose, answer: Answer, ground: &mut Ground) {
        match purpose {
            Purpose::Opens(session) => self.is_opened(session, &answer, ground),
            Purpose::Beats(session, sequence) => {
                self.has_beaten(session, sequence, matches!(answer, Answer::Heard), ground);
            }
            Purpose::Carries(session) => self.has_carried(session, &answer, ground),
            Purpose::Passes(to, call) => match answer {
                Answer::Index(index) => self.reads(to, call, index, ground),
                answer => ground.send(self.machine, to, Message::Called { call, answer }),
            },
        }
    }

    fn is_opened(&mut self, session: u64, answer: &Answer, ground: &mut Ground) {
        let is_open = matches!(answer, Answer::Committed(outcome) if outcome.refusal().is_none());
        let Some(serving) = self.sessions.get(&session).filter(|_| is_open) else {
            return self.ends(session, ground);
        };
        let asked = Asked::Hear(serving.agent.clone());
        self.calls(Rc::new(asked), Purpose::Beats(session, None), HEARD_WITHIN, ground);
    }

    fn has_beaten(&mut self, session: u64, sequence: Option<u64>, is_heard: bool, ground: &mut Ground) {
        let Some(serving) = self.sessions.get_mut(&session) else { return };
        let Some(sequence) = sequence else {
            serving.stage = Stage::Open;
            let welcome = ToAgent::Welcome { member: u64::from(self.id), region: String::new() };
            self.tells_agent(session, welcome, ground);
            self.directs(session, ground);
            self.carries(session, ground);
            return self.beats(session, ground);
        };
        serving.beats = false;
        if is_heard {
            let said = ToAgent::HeartbeatAck { sequence };
            self.tells_agent(session, said, ground);
        }
        self.beats(session, ground);
    }

    fn has_carried(&mut self, session: u64, answer: &Answer, ground: &mut Ground) {
        let Some(serving) = self.sessions.get_mut(&session) else { return };
        let Some(said) = serving.queue.pop_front() else { return };
        let is_evidence = matches!(said, FromAgent::Evidence { .. });
        let is_taken = match answer {
            Answer::Committed(outcome) => !is_evidence || outcome.refusal().is_none(),
            _ => false,
        };
        if !is_taken {
            return self.ends(session, ground);
        }
        if let FromAgent::Step(StepReport { plan, step, attempt, .. }) = said {
            let said = ToAgent::StepAck { plan, step, attempt };
            self.tells_agent(session, said, ground);
        }
        self.carries(session, ground);
    }

    /// Whoever waits for the state looks at it, soon.
    pub fn state_changed(&mut self, ground: &mut Ground) {
        let behind = |serving: &Serving| matches!(serving.stage, Stage::Behind { .. });
        let waiting: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, serving)| behind(serving))
            .map(|(session, _)| *session)
            .collect();
        for session in waiting {
            self.may_open(session, ground);
        }
        for (session, serving) in &mut self.sessions {
            if matches!(serving.stage, Stage::Open) && !std::mem::replace(&mut serving.is_directed, true) {
                let direct = Timer::Controller(OfController::Direct { session: *session });
                ground.ring(self.machine, GOAL_AT_MOST_EVERY, direct);
            }
        }
    }

    /// Sends the goal if it has changed.
    pub fn directs(&mut self, session: u64, ground: &mut Ground) {
        let state = Rc::clone(&self.state);
        let Some(serving) = self.sessions.get_mut(&session) else { return };
        serving.is_directed = false;
        if !state.sessions.get(&serving.agent).is_some_and(|session| session.live) {
            return self.ends(session, ground);
        }
        let goal = goal::of_agent(&state, &serving.agent);
        if serving.sent.as_ref().is_none_or(|sent| sent.differs(&goal)) {
            serving.sent = Some(goal.clone());
            let mut goal = goal;
            self.vacancies.tell(&mut goal, ground.uptime(self.machine));
            let said = ToAgent::Goal(Box::new(goal));
            self.tells_agent(session, said, ground);
        }
    }
}
