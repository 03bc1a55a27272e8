//! What would happen if a region were lost now: the same rules on a copy of the state.

use serde::{Deserialize, Serialize};

use super::{LeaseView, decide};
use crate::command::{Command, Refusal, Stamped};
use crate::evidence::{Condition, Evidence};
use crate::explain::Explanation;
use crate::name::RegionName;
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

/// As if the region's agents fell silent and every other vantage had found its endpoints
/// unhealthy for the whole detection timeout.
pub fn if_lost(state: &State, view: &LeaseView, now: Time, lost: &RegionName) -> Result<WhatIf, Refusal> {
    let config = state.config.as_ref().ok_or(Refusal::NotConfigured)?;
    if config.region(lost).is_none() {
        return Err(Refusal::Unknown { what: format!("region {lost}") });
    }
    let mut copy = state.clone();
    let mut view = view.clone();
    let then = now + config.strategy.detection_timeout;
    for (agent, session) in copy.sessions.iter_mut() {
        if agent.region == *lost {
            session.live = false;
        } else if session.live {
            view.heard.insert(agent.clone(), then);
        }
    }
    copy.evidence.retain(|vantage, _| vantage.region != *lost);
    let of_lost: Vec<_> = config.checks.iter().filter(|check| check.region == *lost).collect();
    for found in copy.evidence.values_mut() {
        for check in &of_lost {
            let evidence =
                Evidence { condition: Condition::Unhealthy, since: now, reason: "supposed lost".into() };
            found.insert(check.id.clone(), evidence);
        }
    }
    let mut plans = Vec::new();
    let mut explained = std::collections::BTreeMap::new();
    let decision = decide(&copy, &view, then);
    for command in decision.commands {
        if let Command::OpenPlan { plan, explanation } = &command {
            plans.push(plan.clone());
            explained.extend(explanation.clone().map(|explanation| (plan.service.clone(), explanation)));
        }
        let index = copy.index + 1;
        copy.apply(index, Stamped { at: then, by: "what-if".into(), command });
    }
    for (service, explanation) in decision.explanations {
        explained.entry(service).or_insert(explanation);
    }
    Ok(WhatIf { lost: lost.clone(), plans, explanations: explained.into_values().collect() })
}
