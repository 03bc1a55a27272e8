//! What would happen if a region were lost now: the same rules on a copy of the state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LeaseView, decide};
use crate::command::{Command, Refusal, Stamped};
use crate::config::{Check, Config};
use crate::evidence::{Condition, Finding};
use crate::explain::Explanation;
use crate::goal::may_probe;
use crate::name::{AgentId, RegionName};
use crate::plan::Plan;
use crate::state::State;
use crate::time::Time;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    pub lost: RegionName,
    pub plans: Vec<Plan>,
    /// For every service: why it would be moved, or would not.
    pub explanations: Vec<Explanation>,
}

/// As if the region's agents had fallen silent and every other vantage had found all of it
/// unhealthy for the whole detection timeout: told to a copy by the same commands.
pub fn if_lost(state: &State, view: &LeaseView, now: Time, lost: &RegionName) -> Result<WhatIf, Refusal> {
    let config = state.config.as_deref().ok_or(Refusal::NotConfigured)?;
    if config.region(lost).is_none() {
        return Err(Refusal::Unknown { what: format!("region {lost}") });
    }
    let mut copy = state.clone();
    let mut view = view.clone();
    let then = now.max(state.now) + config.strategy.detection_timeout;
    for agent in state.live_agents() {
        if agent.region == *lost {
            tell(&mut copy, then, Command::LoseSession { agent });
        } else {
            let findings = findings(config, &agent, lost);
            tell(&mut copy, then, Command::Evidence { vantage: agent.clone(), findings });
            view.heard.insert(agent, then);
        }
    }
    let decision = decide(&copy, &view, then);
    let mut plans = Vec::new();
    let mut explained = BTreeMap::new();
    for command in decision.commands {
        if let Command::OpenPlan { plan, explanation } = command {
            explained.extend(explanation.map(|explanation| (plan.service.clone(), explanation)));
            plans.push(plan);
        }
    }
    for (service, explanation) in decision.explanations {
        explained.entry(service).or_insert(explanation);
    }
    Ok(WhatIf { lost: lost.clone(), plans, explanations: explained.into_values().collect() })
}

fn findings(config: &Config, vantage: &AgentId, lost: &RegionName) -> Vec<Finding> {
    let of_lost = config.checks.iter().filter(|check| check.region == *lost && may_probe(vantage, check));
    let unhealthy = |check: &Check| Finding {
        check: check.id.clone(),
        condition: Condition::Unhealthy,
        age: config.strategy.detection_timeout,
        reason: "supposed lost".into(),
    };
    of_lost.map(unhealthy).collect()
}

fn tell(copy: &mut State, at: Time, command: Command) {
    let index = copy.index + 1;
    copy.apply(index, Stamped { at, by: "what-if".into(), command });
}
