use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{SimInstance, ms};
use crate::command::{AgentInfo, Command, Outcome, Stamped};
use crate::config::{Check, Config};
use crate::decide::{Decision, LeaseView, decide};
use crate::dns::RecordSet;
use crate::evidence::{Condition, Finding};
use crate::goal::{self, may_probe};
use crate::invariant;
use crate::lsn::Lsn;
use crate::name::{AgentId, CheckId, DnsName, RegionName, ServiceName};
use crate::plan::{Action, Kind, Plan, PlanRecord, StepResult};
use crate::records::{Spread, of_service};
use crate::state::State;
use crate::time::Time;

/// From the first probe that fails to the report of it; of a recovery, half of it.
const PROBED_IN: Duration = ms(2_000);

/// What agents say of the steps that they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    Done,
    Fail,
    Never,
    /// The deed is done and its answer lost.
    Lost,
}

/// What is true outside, and the controllers that hear of it. Invariants are checked after every
/// entry.
#[derive(Clone)]
pub struct World {
    pub state: State,
    pub view: LeaseView,
    pub now: Time,
    pub answers: Answers,
    /// Regions where nothing runs.
    pub down: BTreeSet<RegionName>,
    /// Services that do not answer in a region that lives.
    pub broken: BTreeSet<(ServiceName, RegionName)>,
    /// Vantage region, and region that it cannot reach.
    pub cut: BTreeSet<(RegionName, RegionName)>,
    /// Agents that the controllers cannot hear.
    pub silent: BTreeSet<AgentId>,
    /// What DNS servers of others answer.
    pub elsewhere: BTreeMap<DnsName, RecordSet>,
    /// Copies of databases, as they truly are.
    pub instances: BTreeMap<(ServiceName, RegionName), SimInstance>,
    /// How far a primary acknowledged what nobody else had.
    pub acknowledged_alone: BTreeMap<ServiceName, Lsn>,
    /// After so many more entries the leader is lost, with what it had decided beyond them.
    pub lose_leader_after: Option<u32>,
    /// Regions whose instances cannot be promoted.
    pub stubborn: BTreeSet<RegionName>,
    /// Regions whose instances do nothing more, while their agents live.
    pub hung: BTreeSet<RegionName>,
    /// What each vantage sees, and since when.
    seen: BTreeMap<AgentId, BTreeMap<CheckId, (Condition, Time)>>,
    told: BTreeMap<AgentId, BTreeMap<CheckId, Condition>>,
}

impl World {
    /// Everything has been well for ten minutes.
    pub fn new(config: Config) -> Self {
        let mut world = Self {
            state: State::default(),
            view: LeaseView { since: Time(1_000_000_000), ..LeaseView::default() },
            now: Time(1_000_000_000),
            answers: Answers::Done,
            down: BTreeSet::new(),
            broken: BTreeSet::new(),
            cut: BTreeSet::new(),
            silent: BTreeSet::new(),
            elsewhere: BTreeMap::new(),
            instances: BTreeMap::new(),
            acknowledged_alone: BTreeMap::new(),
            stubborn: BTreeSet::new(),
            hung: BTreeSet::new(),
            lose_leader_after: None,
            seen: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        world.must(Command::SetConfig { parent_generation: 0, config: Box::new(config) });
        world.run_for(Duration::from_secs(600));
        world
    }

    pub fn config(&self) -> &Config {
        self.state.config.as_deref().expect("a world is configured")
    }

    // What happens outside.

    /// Power off: services, endpoints and agents.
    pub fn kill(&mut self, region: &str) {
        self.down.insert(region.into());
    }

    pub fn revive(&mut self, region: &str) {
        self.down.remove(&RegionName::from(region));
    }

    pub fn break_service(&mut self, service: &str, region: &str) {
        self.broken.insert((service.into(), region.into()));
    }

    pub fn mend_service(&mut self, service: &str, region: &str) {
        self.broken.remove(&(service.into(), region.into()));
    }

    /// `from` reaches `to` no more; the controllers still hear both.
    pub fn cut(&mut self, from: &str, to: &str) {
        self.cut.insert((from.into(), to.into()));
    }

    /// The controllers do not hear this region's agents; nothing else is wrong with it.
    pub fn silence(&mut self, region: &str) {
        let agents = self.agents().into_iter().filter(|agent| agent.region == RegionName::from(region));
        self.silent.extend(agents);
    }

    pub fn hear(&mut self, region: &str) {
        self.silent.retain(|agent| agent.region != RegionName::from(region));
    }

    /// Agents that live and are heard.
    pub(super) fn speaking(&self) -> Vec<AgentId> {
        let speaks = |agent: &AgentId| !self.down.contains(&agent.region) && !self.silent.contains(agent);
        self.agents().into_iter().filter(speaks).collect()
    }

    fn agents(&self) -> Vec<AgentId> {
        let regions = self.config().regions.iter();
        regions.flat_map(|region| (1..=region.agents).map(|n| AgentId::new(region.name.clone(), n))).collect()
    }

    fn sees(&self, agent: &AgentId, check: &Check) -> Condition {
        let lost = self.down.contains(&check.region)
            || self.cut.contains(&(agent.region.clone(), check.region.clone()))
            || check
                .service
                .as_ref()
                .is_some_and(|service| self.broken.contains(&(service.clone(), check.region.clone())));
        if lost { Condition::Unhealthy } else { Condition::Healthy }
    }

    // What the controllers do.

    /// Applies one entry now, and checks that nothing broke.
    pub fn apply(&mut self, command: Command) -> Outcome {
        let before = self.state.clone();
        let stamped = Stamped { at: self.now, by: "test".into(), command };
        let outcome = self.state.apply(before.index + 1, stamped.clone());
        let mut broken = invariant::check(&before, &self.state);
        broken.extend(invariant::check_repeated(&self.state, &stamped));
        assert_eq!(broken, [], "after {:?}", stamped.command);
        outcome
    }

    /// Applies what must not be refused.
    pub fn must(&mut self, command: Command) -> Outcome {
        let outcome = self.apply(command.clone());
        assert_eq!(outcome.refusal(), None, "{command:?}");
        outcome
    }

    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) -> Outcome {
        let mut config = self.config().clone();
        change(&mut config);
        self.apply(Command::SetConfig {
            parent_generation: self.state.config_generation,
            config: Box::new(config),
        })
    }

    pub fn decide(&self) -> Decision {
        let decision = decide(&self.state, &self.view, self.now);
        assert_eq!(decision.refused, [], "the rules want what the state refuses");
        decision
    }

    /// Commits what the rules say until they say nothing more; gives when they want to look again.
    pub fn settle(&mut self) -> Option<Time> {
        for _ in 0..20 {
            let decision = self.decide();
            if decision.commands.is_empty() {
                return decision.wake_at;
            }
            for command in decision.commands {
                if self.is_leader_lost() {
                    break;
                }
                self.must(command);
            }
        }
        panic!("the rules do not come to rest: {:#?}", self.decide().commands);
    }

    /// A new leader knows nothing of what the one before it had heard.
    fn is_leader_lost(&mut self) -> bool {
        let Some(left) = self.lose_leader_after else { return false };
        self.lose_leader_after = left.checked_sub(1);
        if left == 0 {
            self.view = LeaseView { since: self.now, ..LeaseView::default() };
        }
        left == 0
    }

    /// Lets time pass, from one thing that happens to the next.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.listen();
            self.act();
            let wake = self.settle();
            let act = matches!(self.answers, Answers::Done | Answers::Fail) && !self.assigned().is_empty();
            let act = act || self.has_database_work();
            let next = [wake, self.next_report(), act.then_some(self.now + ms(50))];
            let next = next.into_iter().flatten().filter(|at| *at > self.now).min().unwrap_or(until);
            if next >= until {
                break;
            }
            self.now = next;
        }
        self.now = until;
        self.listen();
        self.settle();
    }

    /// Sessions, heartbeats, and the evidence whose thresholds are passed.
    pub fn listen(&mut self) {
        self.look();
        for agent in self.agents() {
            if !self.speaking().contains(&agent) {
                self.told.remove(&agent);
                continue;
            }
            self.view.heard.insert(agent.clone(), self.now);
            let session = self.state.sessions.get(&agent);
            if !session.is_some_and(|session| session.live) {
                let info = AgentInfo { dns: Some(dns_of(&agent)), version: "test".into(), peer: None };
                self.must(Command::OpenSession { agent: agent.clone(), info });
                self.told.remove(&agent);
            }
            let findings = self.findings(&agent);
            if !findings.is_empty() {
                self.must(Command::Evidence { vantage: agent, findings });
            }
        }
        self.run_databases();
    }

    /// What each living agent sees now. One that starts has seen nothing before.
    fn look(&mut self) {
        for agent in self.agents() {
            if self.down.contains(&agent.region) {
                self.seen.remove(&agent);
                continue;
            }
            let checks: Vec<Check> =
                self.config().checks.iter().filter(|check| may_probe(&agent, check)).cloned().collect();
            for check in checks {
                let condition = self.sees(&agent, &check);
                let now = self.now;
                let seen = self.seen.entry(agent.clone()).or_default();
                let held = seen.entry(check.id).or_insert((condition, now));
                if held.0 != condition {
                    *held = (condition, now);
                }
            }
        }
    }

    fn findings(&mut self, agent: &AgentId) -> Vec<Finding> {
        let Some(seen) = self.seen.get(agent) else { return Vec::new() };
        let told = self.told.entry(agent.clone()).or_default();
        let mut findings = Vec::new();
        for (check, (condition, since)) in seen {
            if told.get(check) != Some(condition) && self.now >= *since + probed_in(*condition) {
                told.insert(check.clone(), *condition);
                findings.push(Finding {
                    check: check.clone(),
                    condition: *condition,
                    age: self.now.since(*since),
                    reason: if *condition == Condition::Healthy {
                        "200 OK".into()
                    } else {
                        "timed out".into()
                    },
                });
            }
        }
        findings
    }

    fn next_report(&self) -> Option<Time> {
        let due = self.speaking().into_iter().flat_map(|agent| {
            let told = self.told.get(&agent).cloned().unwrap_or_default();
            let seen = self.seen.get(&agent).cloned().unwrap_or_default();
            seen.into_iter()
                .filter(move |(check, (condition, _))| told.get(check) != Some(condition))
                .map(|(_, (condition, since))| since + probed_in(condition))
                .collect::<Vec<_>>()
        });
        due.filter(|at| *at > self.now).min()
    }

    fn assigned(&self) -> Vec<goal::Assignment> {
        let speaking = self.speaking();
        speaking.iter().flat_map(|agent| goal::of_agent(&self.state, agent).assignments).collect()
    }

    /// Agents answer the steps that they are given.
    fn act(&mut self) {
        let result = match self.answers {
            Answers::Done => StepResult::Done { note: "done".into() },
            Answers::Fail => StepResult::Failed { why: "it did not work".into() },
            Answers::Never | Answers::Lost => return self.act_in_secret(),
        };
        for given in self.assigned() {
            if self.answers == Answers::Done {
                self.shift_elsewhere(&given);
            }
            self.apply(Command::StepDone {
                plan: given.plan,
                step: given.step,
                attempt: given.attempt,
                epoch: given.epoch,
                result: result.clone(),
            });
        }
    }

    fn act_in_secret(&mut self) {
        if self.answers == Answers::Lost {
            for given in self.assigned() {
                self.shift_elsewhere(&given);
            }
        }
    }

    fn shift_elsewhere(&mut self, given: &goal::Assignment) {
        if let Action::ShiftDns { set, .. } = &given.action {
            self.elsewhere.extend(set.iter().map(|set| (set.name.clone(), set.clone())));
        }
    }

    // What to look at.

    /// Every name that DNS servers of others hold says where its service is.
    pub fn names_elsewhere_are_right(&self) -> bool {
        self.state.services.iter().all(|(service, placement)| {
            let spread = Spread { primary: &placement.primary, left_out: &placement.left_out, leaving: None };
            let wanted = of_service(self.config(), service, &spread);
            let others = wanted.into_iter().filter(|(zone, _)| !self.state.zones.contains_key(zone));
            others.flat_map(|(_, sets)| sets).all(|set| self.elsewhere.get(&set.name) == Some(&set))
        })
    }

    pub fn primary(&self, service: &str) -> &str {
        self.state.services[&ServiceName::from(service)].primary.as_str()
    }

    pub fn epoch(&self, service: &str) -> u64 {
        self.state.services[&ServiceName::from(service)].epoch.0
    }

    /// Where the embedded server sends clients: `region=weight` for each group.
    pub fn answers_for(&self, name: &str) -> Vec<String> {
        let records = self.state.zones.values().flat_map(|zone| &zone.records);
        let set = records.filter(|set| set.name.as_str() == name).collect::<Vec<_>>();
        let groups = set.iter().flat_map(|set| &set.groups);
        groups.map(|group| format!("{}={}", group.region, group.weight)).collect()
    }

    pub fn last_plan(&self) -> &PlanRecord {
        self.state.plans.values().next_back().expect("a plan was opened")
    }

    /// Every plan that moved something so far, as `kind from->to`.
    pub fn plans(&self) -> Vec<String> {
        let brief = |plan: &Plan| format!("{} {}->{}", plan.kind, plan.from, plan.to);
        let moves = self.state.plans.values().filter(|record| record.plan.from != record.plan.to);
        moves.map(|record| brief(&record.plan)).collect()
    }

    /// Why the service is left where it is, or that it is moved.
    pub fn conclusion(&self, service: &str) -> String {
        self.decide().explanations[&ServiceName::from(service)].conclusion.clone()
    }

    /// The journal after `seq`, as an operator reads it.
    pub fn journal(&self, seq: u64) -> Vec<String> {
        self.state.journal.after(seq).map(|entry| entry.event.to_string()).collect()
    }

    pub fn moves(&self, kind: Kind) -> usize {
        self.state.moves.iter().filter(|moved| moved.kind == kind).count()
    }
}

fn probed_in(condition: Condition) -> Duration {
    if condition == Condition::Healthy { PROBED_IN / 2 } else { PROBED_IN }
}

fn dns_of(agent: &AgentId) -> String {
    let n: u32 = agent.region.as_str().bytes().map(u32::from).sum();
    format!("127.0.{}.{}:5300", n % 250, agent.ordinal)
}
