//! What one agent should be doing: derived from the state, never stored, so that a restarted
//! agent, a new leader and normal running are one path.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Check, Database, Probe};
use crate::database::branch::Branch;
use crate::database::{Owner, Ownership, Position};
use crate::dns::Zone;
use crate::drill::FaultGoal;
use crate::name::{AgentId, CheckId, RegionName, ServiceName};
use crate::plan::{Action, Epoch, Executor, PlanId, PlanStatus, Step, StepId, StepStatus};
use crate::state::State;
use crate::time::ms;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// The log index it was derived at; an agent refuses one older than it holds (S2).
    pub generation: u64,
    pub config_generation: u64,
    #[serde(with = "ms", rename = "heartbeat_ms")]
    pub heartbeat: Duration,
    pub checks: Vec<Check>,
    pub zones: Vec<Zone>,
    pub assignments: Vec<Assignment>,
    #[serde(default)]
    pub databases: Vec<DatabaseGoal>,
    /// Of the drill that is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultGoal>,
}

/// What the instance of this agent's region should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseGoal {
    pub service: ServiceName,
    pub wished: Database,
    /// An instance of another one is foreign; none: whatever is there is adopted, or a new one made.
    pub system: Option<String>,
    /// Of the ownership that is now; an agent refuses one older than it holds (S2).
    pub epoch: Epoch,
    /// The timelines that count; whole once the primary has told its newest.
    #[serde(default)]
    pub history: Vec<Branch>,
    #[serde(default)]
    pub history_is_whole: bool,
    pub role: DatabaseRole,
    /// For how long at least nobody may write, when this was sent; see [`crate::vacancies`].
    #[serde(with = "ms", rename = "vacant_for_ms", default)]
    pub vacant_for: Duration,
    /// Who may take writes, wherever that is.
    pub writer: Option<RegionName>,
    /// Whether it says that it does: not before its promotion is done, nor while it ends.
    #[serde(default = "yes")]
    pub writer_serves: bool,
    /// It holds the lease, and may have acknowledged what nobody else has, by leave of this number.
    #[serde(default)]
    pub alone: Option<u64>,
    /// It holds the lease, and whom commits wait for was changed, by this number: it may go by what was before.
    #[serde(default)]
    pub unsettled: Option<u64>,
    /// Of the newest wish that this instance be copied anew; 0: none.
    #[serde(default)]
    pub reinit: u64,
    /// `host:port` of the agents of the other instances, where they promise; see `docs/FENCING.md`.
    #[serde(default)]
    pub peers: BTreeMap<AgentId, Option<String>>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role")]
pub enum DatabaseRole {
    /// Take writes, under a lease of this epoch.
    Primary {
        /// It may count its first lease from when it began to say that it was ready, if this is what it said.
        ready: Option<u64>,
        /// Not before it has this much (S3).
        at_least: Option<Position>,
    },
    Replica {
        of: RegionName,
        /// A planned move to it is under way: say when it follows closely.
        heir: bool,
    },
    /// End the writes and the instance, and give the lease back.
    Yield {
        /// In order: everything acknowledged is with this one first.
        to: Option<RegionName>,
    },
    /// Nobody may write: come to rest and say where it stands.
    Rest {
        /// It held the lease last, and has all that it acknowledged, wherever it stands: nothing need be started to
        /// find that out.
        #[serde(default)]
        wrote_last: bool,
    },
}

/// A step that this agent is to carry out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub plan: PlanId,
    pub step: StepId,
    pub attempt: u32,
    pub service: ServiceName,
    pub epoch: Epoch,
    #[serde(with = "ms", rename = "timeout_ms")]
    pub timeout: Duration,
    pub action: Action,
    /// The checks that the action names.
    pub checks: Vec<Check>,
}

impl Goal {
    /// Whether anything but the generation and the age of what is known differs.
    pub fn differs(&self, other: &Goal) -> bool {
        let same = self.config_generation == other.config_generation
            && self.heartbeat == other.heartbeat
            && self.checks == other.checks
            && self.zones == other.zones
            && self.assignments == other.assignments
            && self.databases.len() == other.databases.len()
            && self.databases.iter().zip(&other.databases).all(|(own, other)| own.is_like(other))
            && self.fault == other.fault;
        !same
    }
}

impl DatabaseGoal {
    fn is_like(&self, other: &DatabaseGoal) -> bool {
        self == other
            || self.vacant_for != other.vacant_for
                && DatabaseGoal { vacant_for: other.vacant_for, ..self.clone() } == *other
    }
}

pub fn of_agent(state: &State, agent: &AgentId) -> Goal {
    let Some(config) = &state.config else { return Goal::default() };
    let checks = config.checks.iter().filter(|check| may_probe(agent, check)).cloned().collect();
    Goal {
        generation: state.index,
        config_generation: state.config_generation,
        heartbeat: config.strategy.session_timeout / 5,
        checks,
        zones: state.zones.values().cloned().collect(),
        assignments: assignments(state, agent),
        databases: databases(state, agent),
        fault: state.drills.values().find(|drill| drill.is_running()).map(|drill| drill.fault_goal()),
    }
}

/// The first agent of a region runs its instances.
fn databases(state: &State, agent: &AgentId) -> Vec<DatabaseGoal> {
    if agent.ordinal != 1 {
        return Vec::new();
    }
    let of_service = |service: &ServiceName| {
        let (wished, held) = state.database(service)?;
        wished.instances.get(&agent.region)?;
        Some(DatabaseGoal {
            service: service.clone(),
            wished: wished.clone(),
            system: held.system.clone(),
            epoch: held.epoch,
            history: held.history.clone(),
            history_is_whole: held.history_is_whole(),
            role: role(state, service, held, &agent.region),
            vacant_for: Duration::ZERO,
            writer: held.holder().cloned(),
            writer_serves: held
                .holder()
                .is_some_and(|holder| held.is_primary(holder) && state.fencing(service, holder).is_none()),
            alone: held.leave().filter(|_| held.holder() == Some(&agent.region)),
            unsettled: held.unsettled.filter(|_| held.holder() == Some(&agent.region)),
            reinit: held.reinit.get(&agent.region).copied().unwrap_or_default(),
            peers: peers(state, wished, &agent.region),
        })
    };
    state.databases.keys().filter_map(of_service).collect()
}

fn peers(state: &State, wished: &Database, own: &RegionName) -> BTreeMap<AgentId, Option<String>> {
    let others = wished.instances.keys().filter(|region| *region != own);
    let agents = others.map(|region| AgentId::new(region.clone(), 1));
    let address = |agent: &AgentId| state.sessions.get(agent).and_then(|session| session.info.peer.clone());
    agents.map(|agent| (agent.clone(), address(&agent))).collect()
}

fn role(state: &State, service: &ServiceName, held: &Ownership, region: &RegionName) -> DatabaseRole {
    let holder = match &held.owner {
        Owner::Held(holder) => holder,
        Owner::Vacant(vacancy) => {
            return DatabaseRole::Rest { wrote_last: vacancy.last.as_ref() == Some(region) };
        }
    };
    if holder != region {
        let heir = is_heir(state, service, region);
        return DatabaseRole::Replica { of: holder.clone(), heir };
    }
    match state.fencing(service, region) {
        Some(fencing) => DatabaseRole::Yield { to: fencing.lossless.then(|| fencing.heir.clone()) },
        None => DatabaseRole::Primary { ready: held.ready, at_least: held.needed() },
    }
}

/// Whether a running plan means to promote it.
fn is_heir(state: &State, service: &ServiceName, region: &RegionName) -> bool {
    let running = state.open_plan(service).filter(|record| record.status == PlanStatus::Running);
    running.is_some_and(|record| {
        let promotes = |step: &Step| matches!(&step.action, Action::Promote { region: of } if of == region);
        record.plan.steps.iter().any(|step| promotes(step) && !record.steps.contains_key(&step.id))
    })
}

/// A command is run by the region's own agents only.
pub fn may_probe(agent: &AgentId, check: &Check) -> bool {
    !matches!(check.probe, Probe::Command { .. }) || check.region == agent.region
}

fn assignments(state: &State, agent: &AgentId) -> Vec<Assignment> {
    let Some(config) = &state.config else { return Vec::new() };
    // Of several agents in a region the first with a session acts.
    let acting = state.sessions.iter().find(|(other, session)| session.live && other.region == agent.region);
    if acting.map(|(acting, _)| acting) != Some(agent) {
        return Vec::new();
    }
    let running = state.plans.values().filter(|record| record.status == PlanStatus::Running);
    running
        .flat_map(|record| record.steps.iter().map(move |(id, step)| (record, id, step)))
        .filter(|(_, _, step)| step.status == StepStatus::Running)
        .filter_map(|(record, id, begun)| {
            let step = record.step(*id)?;
            if step.executor != Executor::Agent(agent.region.clone()) {
                return None;
            }
            Some(Assignment {
                plan: record.plan.id,
                step: *id,
                attempt: begun.attempt,
                service: record.plan.service.clone(),
                epoch: record.plan.epoch,
                timeout: step.timeout,
                action: step.action.clone(),
                checks: named_checks(&config.checks, &step.action),
            })
        })
        .collect()
}

fn named_checks(checks: &[Check], action: &Action) -> Vec<Check> {
    let named: &[CheckId] = match action {
        Action::VerifyService { checks } => checks,
        _ => &[],
    };
    checks.iter().filter(|check| named.contains(&check.id)).cloned().collect()
}
