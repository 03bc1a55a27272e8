//! What one agent should be doing: derived from the state, never stored, so that a restarted
//! agent, a new leader and normal running are one path.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Check, Probe};
use crate::dns::Zone;
use crate::name::{AgentId, CheckId, ServiceName};
use crate::plan::{Action, Epoch, Executor, PlanId, PlanStatus, StepId, StepStatus};
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
    /// Whether anything but the generation differs.
    pub fn differs(&self, other: &Goal) -> bool {
        let same = self.config_generation == other.config_generation
            && self.heartbeat == other.heartbeat
            && self.checks == other.checks
            && self.zones == other.zones
            && self.assignments == other.assignments;
        !same
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
    }
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
