//! One run: its parts, what happens to them, and what is demanded of them in the end.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use decision::command::Command;
use decision::config::{Config, Database, Mode, Profile};
use decision::database::freshness::Reply;
use decision::database::{Ownership, Proof};
use decision::event;
use decision::goal;
use decision::name::AgentId;

use super::agent::Agent;
use super::ambush::{Ambush, Phase, Victim, ambushes};
use super::chance::Chance;
use super::controller::Controller;
use super::fault::{self, Fault, Planned, Shown};
use super::ground::{Event, Ground, Host, Machine};
use super::history::{History, LATE, Missed};
use super::instance::{Instance, Places};
use super::layout::Layout;
use super::ledger::{Ledger, Violation};
use super::message::Message;
use super::net::Net;
use super::operators::Operators;
use super::planted::{Around, Bug, PutIn};
use super::postgres::{self, Postgres};
use super::put_back::Snapshot;
use super::queue::{Moment, Queue};
use super::readers::Readers;
use super::resolvers::{self, Lead, Led, PUBLISHED_WITHIN, Resolver};
use super::script::Script;
use super::setup::{MANY_MOVES, Pace, REGIONS, SERVICE, config, faults, wild};
use super::timer::{OfController, Timer};
use super::trace::Trace;

const FIRST_WRITE: Duration = Duration::from_secs(1);
const CLIENT_WAITS: Duration = Duration::from_secs(1);
/// Clients write every half a second at the latest.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// How long ago a replica was level, at the least, when it was never disturbed: it asks twice a second.
const UNSURE: Duration = Duration::from_secs(2);
/// What ended by itself is started again by whoever looks after processes.
const STARTED_AGAIN_AFTER: Duration = Duration::from_millis(200);
const UNDONE_EVERY: Duration = Duration::from_secs(5);
/// Fewer writes than that were acknowledged in a second: nobody was there to be disturbed.
const WRITES_LEAST: f64 = 0.3;

pub struct World {
    pub layout: Layout,
    config: Config,
    ground: Ground,
    controllers: Vec<Controller>,
    agents: Vec<Agent>,
    /// The database of each region, and what its agent does for it.
    servers: Vec<Postgres>,
    instances: Vec<Instance>,
    places: Places,
    client: Client,
    readers: Readers,
    /// One in each region, and one beside all.
    resolvers: Vec<Resolver>,
    led: Led,
    operators: Operators,
    script: Option<Script>,
    faults: Vec<Planned>,
    ambushes: Vec<Ambush>,
    /// Data as they were when these faults began.
    snapshots: BTreeMap<usize, Snapshot>,
    /// The faults that end with the next of these.
    ending: Vec<(Phase, usize)>,
    /// Each phase so far, as often as it came.
    phases: Vec<Phase>,
    /// Up to where the log, and its journal, were looked at.
    seen: (u64, u64),
    /// What the journal told of, that nothing does in which nothing breaks.
    troubles: usize,
    /// In the end nobody writes, and nobody may be promoted without a person's word.
    is_kept_waiting: bool,
    /// When it was found out last that a lease was over.
    lease_ended_at: Option<Moment>,
    lasts: Moment,
    /// From when things break, and until when; but for what is lost for good.
    wild: Moment,
    calm: Moment,
}

/// Who writes wherever it may; where that was last.
#[derive(Default)]
struct Client {
    target: usize,
    /// Since when it waits for an answer.
    asked: Option<Moment>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub trace_hash: u64,
    pub events: u64,
    pub faults: usize,
    /// Entries of the log, and moves of a service.
    pub entries: u64,
    pub moves: usize,
    /// Of what went on while things broke.
    pub phases: usize,
    /// Acknowledged to clients, and then lost within what may be.
    pub writes: usize,
    pub lost: usize,
    pub violations: Vec<Violation>,
    /// Why it proves nothing, though nothing was found.
    pub inconclusive: Option<&'static str>,
}

/// What of a run its seed does not say.
#[derive(Clone, Debug)]
pub struct Options {
    pub lasts: Duration,
    /// Instead of those that the seed gives, and instead of what lies in wait by it.
    pub faults: Option<Vec<Planned>>,
    /// One thing happens and nothing else, but for what lies in wait here.
    pub script: Option<(Script, Vec<Ambush>)>,
    pub is_read: bool,
    pub planted: Option<Bug>,
}

impl Options {
    /// As its seed has it.
    pub fn lasting(lasts: Duration) -> Options {
        Options { lasts, faults: None, script: None, is_read: false, planted: None }
    }
}

/// A seed's run, in the one depth or the other: what came of it, what broke, and what there is to read.
pub type Run = fn(u64, &Options) -> (Report, Vec<Planned>, Vec<String>);

pub fn run(seed: u64, options: &Options) -> (Report, Vec<Planned>, Vec<String>) {
    let _bug = PutIn::new(options.planted);
    let mut world = World::new(seed, options);
    let report = world.runs();
    (report, world.faults, world.ground.trace.lines().to_vec())
}

impl World {
    fn new(seed: u64, options: &Options) -> World {
        let chance = Chance::new(seed);
        let layout = Layout { regions: REGIONS.len() };
        let profile = *chance.pick(&[Profile::Balanced, Profile::Fast]);
        let timings = profile.timings();
        let mut config = config(profile, &chance);
        if options.script.is_some() {
            (config.strategy.moves.per_service, config.strategy.moves.overall) = (MANY_MOVES, MANY_MOVES);
        }
        let wished = database(&config);
        let far = match profile {
            Profile::Fast => chance.between(Duration::from_millis(1), Duration::from_millis(18)),
            _ => chance.between(Duration::from_millis(5), Duration::from_millis(60)),
        };
        let net = Net::new(layout.machines(), |from, to| match layout.region(from) == layout.region(to) {
            true => (Duration::from_micros(200), Duration::from_micros(100)),
            false => (far, far / 10),
        });
        let mode = wished.map_or(Mode::Async, |wished| wished.mode);
        let pace = Pace::draw(&chance, mode);
        // With clocks that are off it stays synchronous.
        let may_change_mode = pace.is_as_assumed && chance.permille(200);
        let hosts = (0..layout.machines()).map(|_| Host::new(pace.of_one(&chance))).collect();
        let lasts = Moment(0) + options.lasts;
        let (wild, calm) = wild(options.lasts, options.script.is_some());
        let is_failsafe = wished.is_some_and(|wished| wished.failsafe);
        let (faults, ambushes) = match (&options.faults, &options.script) {
            (Some(faults), _) => (faults.clone(), Vec::new()),
            (None, Some((script, ambushes))) => (script.faults(layout, wild, lasts), ambushes.clone()),
            (None, None) => (faults(&chance, layout, options.lasts), ambushes(&chance, layout, is_failsafe)),
        };
        let members = layout.regions as u8;
        let controller = |n: usize| {
            let mut controller = Controller::new(n as u8, members, &format!("controller/{}", n + 1), timings);
            let has = |bug| options.planted == Some(Bug::Around(bug));
            controller.raft.votes_twice = has(Around::VotesTwice);
            controller.raft.commits_older_terms = has(Around::CommitsOlderTerms);
            controller
        };
        let agent = |n: usize| {
            // Those of its own region first.
            let controllers = (0..layout.regions).map(|next| layout.controller((n + next) % layout.regions));
            let mut agent =
                Agent::new(AgentId::new(REGIONS[n], 1), layout.agent(n), controllers.collect(), timings);
            agent.watch.regions =
                REGIONS.iter().enumerate().map(|(n, name)| ((*name).into(), layout.agent(n))).collect();
            agent
        };
        let instance = |n: usize| {
            let controllers = (0..layout.regions).map(|next| layout.controller((n + next) % layout.regions));
            Instance::new(SERVICE.into(), AgentId::new(REGIONS[n], 1), layout.agent(n), controllers.collect())
        };
        let place = |n: usize| (REGIONS[n].into(), layout.agent(n));
        World {
            layout,
            operators: Operators::new(
                SERVICE.into(),
                REGIONS.map(Into::into).to_vec(),
                config.clone(),
                may_change_mode,
            ),
            config,
            servers: (0..layout.regions).map(|n| Postgres::new(layout.agent(n), REGIONS[n].into())).collect(),
            instances: (0..layout.regions).map(instance).collect(),
            places: (0..layout.regions).map(place).collect(),
            client: Client::default(),
            readers: Readers::default(),
            resolvers: (layout.regions..layout.machines())
                .map(|machine| Resolver::new(machine, layout.agents().collect()))
                .collect(),
            led: Led::default(),
            controllers: (0..layout.regions).map(controller).collect(),
            agents: (0..layout.regions).map(agent).collect(),
            faults,
            ambushes,
            snapshots: BTreeMap::new(),
            ending: Vec::new(),
            phases: Vec::new(),
            seen: (0, 0),
            troubles: 0,
            is_kept_waiting: false,
            lease_ended_at: None,
            lasts,
            wild,
            calm,
            script: options.script.as_ref().map(|(script, _)| *script),
            ground: Ground {
                queue: Queue::default(),
                net,
                hosts,
                chance: Chance::new(seed ^ 0x5eed),
                ledger: Ledger::default(),
                history: History::new(
                    SERVICE.into(),
                    mode == Mode::Async && !may_change_mode,
                    pace.is_as_assumed,
                    !is_failsafe,
                ),
                trace: Trace::new(options.is_read),
                phases: Vec::new(),
                planted: options.planted,
            },
        }
    }

    fn runs(&mut self) -> Report {
        for (n, planned) in self.faults.iter().enumerate() {
            self.ground.queue.put(planned.from, Event::Begins(n));
            self.ground.queue.put(planned.until, Event::Ends(n));
        }
        self.controllers.iter_mut().for_each(|controller| controller.starts(&mut self.ground));
        self.agents.iter_mut().for_each(|agent| agent.starts(&mut self.ground));
        for machine in self.layout.regions..self.layout.machines() {
            self.ground.queue.put(Moment(0) + FIRST_WRITE, Event::Writes(machine));
        }
        self.ground.queue.put(self.wild, Event::Operates);
        self.ground.queue.put(self.wild, Event::Reads);
        for place in 0..self.resolvers.len() {
            self.ground.queue.put(Moment(0) + resolvers::ASKED_EVERY, Event::Resolves(place));
        }
        // Whom it was told to does not lead for long, perhaps.
        let mut told_in = None;
        while let Some(event) = self.ground.queue.take(self.lasts) {
            self.happens(event);
            self.springs();
            self.judges_missed();
            if self.ground.ledger.newest().1.config.is_none() {
                told_in = self.configures(told_in);
            }
            if !self.ground.ledger.violations().is_empty() {
                break;
            }
        }
        if self.ground.ledger.violations().is_empty() {
            self.demands();
        }
        self.report()
    }

    fn report(&mut self) -> Report {
        let (index, state) = self.ground.ledger.newest();
        let (moves, head) = (state.moves.len(), state.journal.head());
        head.to_string().bytes().for_each(|byte| self.ground.trace.mixes(u64::from(byte)));
        Report {
            trace_hash: self.ground.trace.hash(),
            events: self.ground.trace.events(),
            faults: self.faults.len(),
            entries: index,
            moves,
            phases: self.phases.len(),
            writes: self.ground.history.writes,
            lost: self.ground.history.lost,
            violations: self.ground.ledger.violations().to_vec(),
            inconclusive: self.inconclusive(),
        }
    }

    fn inconclusive(&self) -> Option<&'static str> {
        let seconds = self.lasts.since(Moment(0)).as_secs_f64();
        if (self.ground.history.writes as f64) < seconds * WRITES_LEAST {
            return Some("hardly anything was written");
        }
        if self.is_kept_waiting {
            return Some("whoever is left lacks more than may be lost");
        }
        (self.troubles == 0).then_some("no fault had an effect")
    }

    /// As an operator does it, by whoever leads first. `told_in`: the term in which a leader was told last. Gives that.
    fn configures(&mut self, told_in: Option<u64>) -> Option<u64> {
        let leader = self.controllers.iter_mut().find(|controller| controller.leads(&self.ground))?;
        let term = leader.in_term();
        if told_in == Some(term) {
            return told_in;
        }
        let config = Box::new(self.config.clone());
        let set = Command::SetConfig { parent_generation: 0, config };
        leader.submits(set, "operator/ann", &mut self.ground).then_some(term)
    }

    fn happens(&mut self, event: Event) {
        let now = self.ground.queue.now();
        match event {
            Event::Comes { from, to, life, coming, message } => {
                let is_for_agent = message.is_for_agent();
                let is_lost = self.ground.is_down(to, is_for_agent)
                    || self.ground.life(to, is_for_agent) != life
                    || coming.is_some_and(|coming| !self.ground.net.comes(from, to, coming));
                if is_lost {
                    return;
                }
                if let Some(waiting) = self.waiting(to, is_for_agent) {
                    return waiting.push(Event::Comes { from, to, life, coming: None, message });
                }
                self.ground.trace.happens(now, 1, to);
                match message {
                    Message::Resolve { call } => self.is_asked_for_names(from, to, call),
                    Message::Resolved { call, lead } => {
                        self.resolvers[to - self.layout.regions].is_answered(call, lead, now);
                    }
                    message if self.layout.is_controller(to) => {
                        self.controllers[to].hears(from, message, &mut self.ground)
                    }
                    message if self.layout.is_data(to) => self.data_machine_hears(from, to, message),
                    message => self.client_hears(message),
                }
            }
            Event::Rings { machine, life, timer } => {
                let is_of_agent = timer.is_of_agent();
                if self.ground.is_down(machine, is_of_agent) || self.ground.life(machine, is_of_agent) != life
                {
                    return;
                }
                if let Some(waiting) = self.waiting(machine, is_of_agent) {
                    return waiting.push(Event::Rings { machine, life, timer });
                }
                self.ground.trace.happens(now, 2, machine);
                if matches!(timer, Timer::Controller(OfController::Synced(..)))
                    && !self.ground.hosts[machine].can_flush()
                {
                    return self.ends_itself(machine);
                }
                let n = self.layout.region(machine);
                let World { ground, agents, instances, servers, controllers, places, .. } = self;
                match timer {
                    Timer::Controller(timer) => controllers[machine].rings(timer, ground),
                    Timer::Agent(timer) => agents[n].rings(timer, ground),
                    Timer::Instance(timer) => instances[n].rings(timer, servers, places, ground),
                    Timer::Guard(timer) => instances[n].guard_rings(&timer, &mut servers[n], ground),
                    Timer::Postgres(timer) => {
                        servers[n].rings(timer, ground);
                        instances[n].notices(&mut servers[n], ground);
                    }
                }
            }
            Event::StartsAgain(machine) => self.restarts(machine),
            Event::Begins(n) => self.begins(n),
            Event::Ends(n) => self.ends(n),
            Event::Writes(machine) => self.writes(machine),
            Event::Operates => self.operates(),
            Event::Resolves(place) => self.resolves(place),
            Event::Reads => {
                let (client, controllers) = (self.layout.client(), self.layout.regions);
                let pause = self.readers.operates(client, controllers, &mut self.ground);
                self.ground.queue.put(now + pause, Event::Reads);
            }
        }
    }

    /// Where what happens to this machine, or to the agent on it, waits while it is paused.
    fn waiting(&mut self, machine: Machine, of_agent: bool) -> Option<&mut Vec<Event>> {
        let host = &mut self.ground.hosts[machine];
        match host {
            _ if host.pauses > 0 => Some(&mut host.waiting),
            _ if of_agent && host.freezes > 0 => Some(&mut host.frozen),
            _ => None,
        }
    }

    fn data_machine_hears(&mut self, from: Machine, machine: Machine, message: Message) {
        let n = self.layout.region(machine);
        let World { ground, agents, instances, servers, .. } = self;
        let (agent, instance) = (&mut agents[n], &mut instances[n]);
        match message {
            Message::Postgres(message) => {
                servers[n].hears(from, *message, ground);
                instance.notices(&mut servers[n], ground);
            }
            Message::Called { call, answer } => instance.is_answered(call, &answer, ground),
            Message::Reaches { asked, end } => instance.replies.push(Reply { asked, end }),
            Message::Promise { call, request } => {
                let is_given = instance.promises(&request, agent.goal.databases.first(), ground);
                ground.send(machine, from, Message::Promised { call, is_given });
            }
            Message::Promised { call, is_given } => instance.is_promised(from, call, is_given, ground),
            message => {
                let before = Rc::clone(&agent.goal);
                agent.hears(message, ground);
                let (was, is) = (before.generation, agent.goal.generation);
                if is < was {
                    let detail = format!("agent {} went back from goal {was} to {is}", agent.id);
                    ground.ledger.finds(ground.queue.now(), "S2", detail);
                }
                if agent.is_live && !Rc::ptr_eq(&before, &agent.goal) {
                    instance.is_told(agent.goal.databases.first(), ground);
                }
            }
        }
    }

    // Names.

    fn is_asked_for_names(&mut self, from: Machine, machine: Machine, call: u64) {
        let now = self.ground.now();
        let agent = &self.agents[self.layout.region(machine)];
        let Some(set) = agent.names() else { return };
        let Some(group) = resolvers::drawn(set, &self.ground.chance) else { return };
        let newest = self.ground.ledger.newest().1.zone_generation;
        let is_informed = agent.is_served_by().is_some_and(|(controller, since)| {
            let (generation, known) = self.controllers[controller].names;
            let went_on = self.ground.hosts[machine].went_on;
            generation == newest && now.since(since.max(known).max(went_on)) > PUBLISHED_WITHIN
        });
        let (to, ttl) = (group.region.clone(), Duration::from_secs(set.ttl_s.into()));
        let lead = Lead { to, ttl, is_informed };
        self.ground.send(machine, from, Message::Resolved { call, lead });
    }

    /// S6
    fn resolves(&mut self, place: usize) {
        let now = self.ground.now();
        self.ground.queue.put(now + resolvers::ASKED_EVERY, Event::Resolves(place));
        let resolver = &mut self.resolvers[place];
        let host = &self.ground.hosts[resolver.machine];
        if !host.is_up() || host.pauses > 0 {
            return;
        }
        let Some(lead) = resolver.leads(&mut self.ground) else { return };
        let Some(region) = REGIONS.iter().position(|name| *name == lead.to.as_str()) else { return };
        let not_for = self.led.not_for(now, region);
        let held = self.ground.ledger.newest().1.databases.get(&SERVICE.into());
        let may_write = held.and_then(Ownership::holder) == Some(&lead.to);
        if lead.is_informed && not_for > lead.ttl + PUBLISHED_WITHIN && !may_write {
            let seconds = not_for.as_secs();
            let detail = format!("a resolver leads to {}, {seconds} s after another was decided on", lead.to);
            self.ground.ledger.finds(now, "S6", detail);
        }
    }

    // Clients.

    /// One on each data machine writes to the server there; one far away to whichever lets it.
    fn writes(&mut self, machine: Machine) {
        let now = self.ground.queue.now();
        let chance = &self.ground.chance;
        let next = chance.between(Duration::from_millis(150), Duration::from_millis(600));
        self.ground.queue.put(now + next, Event::Writes(machine));
        let host = &self.ground.hosts[machine];
        if !host.is_up() || host.pauses > 0 {
            return;
        }
        let mut target = machine;
        if machine == self.layout.client() {
            if self.client.asked.is_some_and(|asked| now.since(asked) > CLIENT_WAITS) {
                self.client.target = (self.client.target + 1) % self.layout.regions;
                self.client.asked = None;
            }
            target = self.layout.agent(self.client.target);
        }
        if machine == self.layout.client() {
            self.client.asked.get_or_insert(now);
        }
        self.ground.send(machine, target, Message::Postgres(Box::new(postgres::Message::Write)));
    }

    fn client_hears(&mut self, message: Message) {
        let message = match message {
            Message::Called { call, answer } => return self.readers.is_answered(call, &answer, &self.ground),
            Message::Postgres(message) => message,
            _ => return,
        };
        match *message {
            postgres::Message::Written => self.client.asked = None,
            postgres::Message::Denied => {
                self.client.target = (self.client.target + 1) % self.layout.regions;
                self.client.asked = None;
            }
            _ => {}
        }
    }

    /// Until things are to calm down; what an operator left in the way of that is taken back.
    fn operates(&mut self) {
        let now = self.ground.queue.now();
        let is_calm = now >= self.calm;
        let next = match is_calm {
            true => now + UNDONE_EVERY,
            false => {
                let pause = self.ground.chance.between(Duration::from_secs(10), Duration::from_secs(120));
                (now + pause).min(self.calm)
            }
        };
        if let Some(script) = self.script {
            return self.follows(script);
        }
        self.ground.queue.put(next, Event::Operates);
        let leader = self.controllers.iter_mut().find(|controller| controller.leads(&self.ground));
        let Some(leader) = leader else { return };
        match (is_calm, self.operators.undone(&leader.state)) {
            (false, _) => self.operators.operates(leader, &mut self.ground),
            (true, Some(undone)) => {
                leader.submits(undone, "operator/ann", &mut self.ground);
            }
            (true, None) => {}
        }
    }

    /// Until it has begun.
    fn follows(&mut self, script: Script) {
        let Some(to) = script.planned_move() else { return };
        if self.ground.ledger.newest().1.plans.values().any(|record| !record.plan.automatic) {
            return;
        }
        self.ground.queue.put(self.ground.now() + UNDONE_EVERY, Event::Operates);
        let leader = self.controllers.iter_mut().find(|controller| controller.leads(&self.ground));
        let Some(leader) = leader else { return };
        if let Some(plan) = leader.planned_move(&SERVICE.into(), &to, &self.ground) {
            leader.submits(Command::OpenPlan { plan, explanation: None }, "operator/ann", &mut self.ground);
        }
    }

    // Faults.

    /// What lay in wait for what has just happened.
    fn springs(&mut self) {
        let is_wild = self.ground.now() >= self.wild;
        let (index, state) = self.ground.ledger.newest();
        if index > self.seen.0 {
            for entry in state.journal.after(self.seen.1) {
                self.ground.phases.extend(Phase::of(&entry.event));
                self.troubles += usize::from(is_wild && is_trouble(&entry.event));
                let is_end = matches!(entry.event, event::Event::LeaseEnded { .. });
                // Whoever was granted it since may have written unheard, for all that anybody can know.
                if is_end {
                    self.lease_ended_at = Some(self.ground.queue.now());
                }
                self.ground.trace.line(self.ground.queue.now(), || format!("  journal: {}", entry.event));
            }
            let set = state.zones.values().next().and_then(|zone| zone.records.first());
            self.led.note(self.ground.queue.now(), state.zone_generation, set, &REGIONS.map(Into::into));
            let log_of = |region: &decision::name::RegionName| {
                self.servers.iter().find(|server| server.name == *region)?.log()
            };
            self.ground.history.is_declared(state, log_of);
            self.seen = (index, state.journal.last_seq());
        }
        for phase in std::mem::take(&mut self.ground.phases) {
            if !is_wild {
                continue;
            }
            self.phases.push(phase);
            for (_, n) in self.ending.extract_if(.., |(until, _)| *until == phase).collect::<Vec<_>>() {
                self.ends_early(n);
            }
            let sprung = self.ambushes.iter().filter(|ambush| ambush.is_due(&self.phases));
            for ambush in sprung.copied().collect::<Vec<_>>() {
                self.strikes(&ambush);
            }
        }
    }

    fn strikes(&mut self, ambush: &Ambush) {
        let from = self.ground.queue.now() + ambush.after;
        let until = (from + ambush.lasts).min(self.calm);
        if from >= until {
            return;
        }
        let fault = ambush.fault(self.victim(ambush.victim), self.layout);
        let n = self.faults.len();
        self.faults.push(Planned { from, until, fault });
        self.ground.queue.put(from, Event::Begins(n));
        self.ground.queue.put(until, Event::Ends(n));
        self.ending.extend(ambush.until.map(|phase| (phase, n)));
    }

    /// Now, or as soon as it begins.
    fn ends_early(&mut self, n: usize) {
        let planned = &mut self.faults[n];
        let at = self.ground.queue.now().max(planned.from);
        if at < planned.until {
            planned.until = at;
            self.ground.queue.put(at, Event::Ends(n));
        }
    }

    fn victim(&self, victim: Victim) -> Machine {
        let service = SERVICE.into();
        let (_, state) = self.ground.ledger.newest();
        let held = state.databases.get(&service);
        let last =
            held.and_then(|held| held.vacancy().map_or(held.holder(), |vacancy| vacancy.last.as_ref()));
        let place = |name: &decision::name::RegionName| self.places.get(name).copied();
        let holder = last.and_then(place).unwrap_or(self.layout.agent(0));
        match victim {
            Victim::Holder => holder,
            Victim::Heir => {
                let to = state.open_plan(&service).and_then(|open| place(&open.plan.to));
                to.filter(|to| *to != holder).unwrap_or_else(|| {
                    self.layout.agent((self.layout.region(holder) + 1) % self.layout.regions)
                })
            }
            Victim::Third => {
                let both = [holder, self.victim(Victim::Heir)];
                self.layout.agents().find(|machine| !both.contains(machine)).unwrap_or(holder)
            }
            Victim::Leader => self.leader(),
            Victim::Follower => {
                let leader = self.leader();
                let follows = self.layout.controllers().filter(|machine| *machine != leader);
                let is_near = |machine: &Machine| self.layout.region(*machine) == self.layout.region(holder);
                follows.min_by_key(is_near).unwrap_or(leader)
            }
            Victim::Any(machine) => machine,
        }
    }

    /// The newest: one before it may not know of it.
    fn leader(&self) -> Machine {
        let leads = |machine: &Machine| self.controllers[*machine].raft.leads();
        let term = |machine: &Machine| self.controllers[*machine].raft.term();
        self.layout.controllers().filter(leads).max_by_key(term).unwrap_or(0)
    }

    fn begins(&mut self, n: usize) {
        let now = self.ground.queue.now();
        let fault = self.faults[n].fault.clone();
        self.ground.trace.happens(now, 3, n);
        self.ground.trace.line(now, || format!("{n}: {}", Shown(&fault, self.layout)));
        fault::begins(&fault, &mut self.ground);
        match fault {
            Fault::Crash(machine) => self.crashes(machine),
            Fault::Pause(machine) => self.ground.hosts[machine].pauses += 1,
            Fault::Freeze(machine) => self.ground.hosts[machine].freezes += 1,
            Fault::CrashAgent(machine) => self.agent_crashes(machine),
            Fault::OldData(machine) => {
                let region = self.layout.region(machine);
                let snapshot = Snapshot::of(&self.servers[region], &self.instances[region]);
                self.snapshots.extend(snapshot.map(|snapshot| (n, snapshot)));
            }
            Fault::CrashServer(machine) => {
                let n = self.layout.region(machine);
                if !matches!(self.servers[n].process, postgres::Process::None) {
                    self.instances[n].is_gone(false, &mut self.servers[n], &mut self.ground);
                }
            }
            _ => {}
        }
    }

    fn ends(&mut self, n: usize) {
        let now = self.ground.queue.now();
        // It ended before.
        if self.faults[n].until != now {
            return;
        }
        let fault = self.faults[n].fault.clone();
        self.ground.trace.happens(now, 4, n);
        self.ground.trace.line(now, || format!("{n} ends: {}", Shown(&fault, self.layout)));
        fault::ends(&fault, &mut self.ground);
        match fault {
            Fault::Crash(machine) => self.restarts(machine),
            Fault::Pause(machine) => self.resumes(machine),
            Fault::Freeze(machine) => {
                let host = &mut self.ground.hosts[machine];
                host.freezes -= 1;
                if host.freezes == 0 {
                    let frozen = std::mem::take(&mut host.frozen);
                    self.ground.goes_on(machine, frozen);
                }
            }
            Fault::CrashAgent(machine) => {
                self.ground.hosts[machine].agent_crashes -= 1;
                self.agent_starts(machine);
            }
            Fault::OldData(machine) => {
                if let Some(snapshot) = self.snapshots.remove(&n) {
                    self.comes_back_old(machine, snapshot);
                }
            }
            _ => {}
        }
    }

    fn crashes(&mut self, machine: Machine) {
        let now = self.ground.queue.now();
        let host = &mut self.ground.hosts[machine];
        host.crashes += 1;
        if host.crashes > 1 {
            return;
        }
        host.life += 1;
        host.waiting.clear();
        host.frozen.clear();
        host.clock.boots(now);
        let n = self.layout.region(machine);
        if self.layout.is_controller(machine) {
            return self.controllers[n].crashes(&self.ground);
        }
        self.servers[n].is_lost(&mut self.ground);
        self.resolvers[n].forgets();
        self.agents[n].crashes();
        self.instances[n].restarts(true, &self.ground);
    }

    /// A controller whose log cannot be flushed: nobody was told of what is not in it.
    fn ends_itself(&mut self, machine: Machine) {
        let now = self.ground.queue.now();
        self.ground
            .trace
            .line(now, || format!("{} ends: its log cannot be flushed", self.layout.name(machine)));
        self.crashes(machine);
        self.ground.queue.put(now + STARTED_AGAIN_AFTER, Event::StartsAgain(machine));
    }

    fn comes_back_old(&mut self, machine: Machine, snapshot: Snapshot) {
        let (now, n) = (self.ground.queue.now(), self.layout.region(machine));
        self.crashes(machine);
        snapshot.replaces(&mut self.servers[n], &mut self.instances[n], &mut self.ground.history);
        self.ground.queue.put(now + STARTED_AGAIN_AFTER, Event::StartsAgain(machine));
    }

    fn restarts(&mut self, machine: Machine) {
        let now = self.ground.queue.now();
        let host = &mut self.ground.hosts[machine];
        host.crashes -= 1;
        if host.crashes > 0 {
            return;
        }
        // What was sent to it while it was down has come to nobody.
        host.life += 1;
        host.clock.boots(now);
        match self.layout.is_controller(machine) {
            true => self.controllers[machine].starts(&mut self.ground),
            false => self.agent_starts(machine),
        }
    }

    fn agent_crashes(&mut self, machine: Machine) {
        let host = &mut self.ground.hosts[machine];
        host.agent_crashes += 1;
        host.agent_life += 1;
        host.frozen.clear();
        let n = self.layout.region(machine);
        self.agents[n].crashes();
        self.instances[n].restarts(false, &self.ground);
    }

    /// Unless something keeps it down yet.
    fn agent_starts(&mut self, machine: Machine) {
        let host = &mut self.ground.hosts[machine];
        if host.crashes > 0 || host.agent_crashes > 0 {
            return;
        }
        host.agent_life += 1;
        let n = self.layout.region(machine);
        self.instances[n].restarts(false, &self.ground);
        self.agents[n].starts(&mut self.ground);
    }

    fn resumes(&mut self, machine: Machine) {
        let host = &mut self.ground.hosts[machine];
        host.pauses -= 1;
        if host.pauses > 0 {
            return;
        }
        let waiting = std::mem::take(&mut host.waiting);
        if self.layout.is_data(machine) {
            // Its guard is the first that runs.
            let n = self.layout.region(machine);
            self.instances[n].guard_wakes(&mut self.servers[n], &mut self.ground);
        }
        self.ground.goes_on(machine, waiting);
    }

    /// S3, where a replica came back with old data. What it alone had besides whoever is away is lost: nobody who is
    /// there has it, whatever is decided. All else must be found where it is.
    fn judges_missed(&mut self) {
        for Missed { machine, epoch, record } in std::mem::take(&mut self.ground.history.missed) {
            let were_there = &self.ground.history.were_there;
            let was_there =
                |server: &&Postgres| server.machine != machine && were_there.contains(&server.name);
            let has = |server: &&Postgres| server.log().is_some_and(|log| log.has(record));
            if let Some(other) = self.servers.iter().filter(was_there).find(has) {
                let detail = format!(
                    "machine {machine} takes writes at epoch {epoch} and lacks what was acknowledged; a replica lost \
                     that, and {} was there and has it",
                    other.name
                );
                self.ground.ledger.finds(self.ground.queue.now(), "S3", detail);
            }
        }
    }

    /// Whether somebody who is left lacks no more than may be lost, with all that nobody can know: for how long a
    /// primary that is away has written after its last word.
    fn anybody_has_enough(&self) -> bool {
        let Some((database, may_lose)) = database(&self.config).zip(self.ground.history.may_lose) else {
            return true;
        };
        let unheard = self.lease_ended_at.zip(self.ground.history.last).map(|(end, last)| end.since(last));
        let unknown = LATE + UNSURE + database.lease.ttl.max(unheard.unwrap_or_default());
        self.servers.iter().enumerate().any(|(n, server)| {
            let is_up = self.ground.hosts[self.layout.agent(n)].is_up();
            is_up && !server.lacks() && self.ground.history.lacks(server.log()) + unknown <= may_lose
        })
    }

    /// Whether whoever is left can tell that it has all that may count: some of what the last that was granted the
    /// lease has, and in synchronous modes so many that any commit was acknowledged by one of them. Who holds another's
    /// log says nothing of that; nor does who was rewound by somebody who was lost before the rest was sent.
    fn anybody_can_tell(&self) -> bool {
        let is_away = |machine: &Machine| !self.ground.hosts[*machine].is_up();
        let held = self.ground.ledger.newest().1.databases.values().next();
        let last = held.and_then(|held| held.holder().or(held.vacancy()?.last.as_ref()));
        let last = self.servers.iter().find(|server| Some(&server.name) == last);
        let Some(last) = last.filter(|server| is_away(&server.machine)) else { return true };
        let Some(log) = last.log() else { return true };
        let is_kin = |server: &&Postgres| {
            let is_there = !is_away(&server.machine) && !server.lacks();
            is_there && server.log().is_some_and(|own| own.common(log) >= own.end)
        };
        let left = self.servers.iter().filter(is_kin).count();
        let acks = database(&self.config).map_or(0, |wished| usize::from(wished.mode.acks()));
        let needed = if acks == 0 { 1 } else { self.servers.len() - acks };
        left >= needed
    }

    /// L1 to L3: nothing new has broken for long enough.
    fn demands(&mut self) {
        let now = self.ground.queue.now();
        let (_, newest) = self.ground.ledger.newest();
        let newest = Rc::clone(newest);
        let is_up = |machine: Machine| self.ground.hosts[machine].is_up();
        let mut wanting = Vec::new();
        if !self.controllers.iter().any(|controller| controller.leads(&self.ground)) {
            wanting.push(("L1", "no controller leads".to_owned()));
        }
        let is_live = |n: usize| is_up(self.layout.agent(n));
        let silent = self.ground.history.last.map_or(now.since(Moment(0)), |last| now.since(last));
        // Where moves are bounded, the last may have been refused.
        let is_free = self.config.strategy.moves.per_service >= MANY_MOVES;
        // S3 goes before L1: who is left lacks so much that a person must say it may be lost.
        let may_be_helped = self.anybody_has_enough() && self.anybody_can_tell();
        self.is_kept_waiting = is_free && silent > SERVED_WITHIN && !may_be_helped;
        let may_move = is_free && !self.is_kept_waiting;
        for (service, placement) in &newest.services {
            let n = REGIONS.iter().position(|name| placement.primary.as_str() == *name);
            if may_move && !n.is_some_and(is_live) {
                wanting.push(("L1", format!("{service} is in {}, which is lost", placement.primary)));
            }
        }
        if may_move && silent > SERVED_WITHIN {
            let leader = self.controllers.iter().find(|controller| controller.leads(&self.ground));
            let why = leader.and_then(|leader| leader.explains(&SERVICE.into(), &self.ground));
            let detail =
                format!("nothing was written for {} s: {}", silent.as_secs(), why.unwrap_or_default());
            wanting.push(("L1", detail));
        }
        for (n, agent) in self.agents.iter().enumerate().filter(|(n, _)| is_live(*n)) {
            let session = newest.sessions.get(&agent.id);
            if !session.is_some_and(|session| session.live) {
                wanting.push(("L3", format!("agent {n} has no session")));
            }
            if agent.goal.differs(&goal::of_agent(&newest, &agent.id)) {
                wanting.push(("L3", format!("agent {n} does not know what it should do")));
            }
        }
        for (n, agent) in self.agents.iter().enumerate().filter(|(n, _)| !is_live(*n)) {
            if newest.sessions.get(&agent.id).is_some_and(|session| session.live) {
                wanting.push(("L3", format!("agent {n} is lost, and held for live")));
            }
        }
        for (n, server) in self.servers.iter().enumerate().filter(|(n, _)| may_move && is_live(*n)) {
            let follows = match &server.process {
                postgres::Process::Primary(_) => true,
                postgres::Process::Replica(replica) => replica.streams,
                postgres::Process::None | postgres::Process::Starting { .. } => false,
            };
            let told =
                newest.databases.get(&SERVICE.into()).and_then(|held| held.instances.get(&server.name));
            if !follows {
                wanting.push(("L2", format!("the database in {} does not follow: {told:?}", REGIONS[n])));
            }
        }
        if let Err(why) = std::mem::take(&mut self.readers).judge() {
            wanting.push(("S7", why));
        }
        for (invariant, detail) in wanting {
            self.ground.ledger.finds(now, invariant, detail);
        }
    }
}

/// What no journal tells of where nothing breaks.
fn is_trouble(event: &event::Event) -> bool {
    match event {
        event::Event::SessionLost { .. } | event::Event::VerdictChanged { .. } => true,
        event::Event::LeaseEnded { vacancy, .. } => {
            !matches!(vacancy.proof, Proof::Released { clean: Some(_), .. })
        }
        _ => false,
    }
}

/// That of the one service.
fn database(config: &Config) -> Option<&Database> {
    config.services.values().find_map(|service| service.database.as_ref())
}
