use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Applied, Context, KEPT_REASON, kept};
use crate::command::Refusal;
use crate::event::Event;
use crate::evidence::{Condition, Evidence, Finding};
use crate::name::{AgentId, CheckId};
use crate::state::State;

pub(super) fn take(
    state: &mut State,
    context: &Context,
    vantage: AgentId,
    findings: Vec<Finding>,
) -> Applied {
    let config = state.config.clone().ok_or(Refusal::NotConfigured)?;
    if !state.sessions.get(&vantage).is_some_and(|session| session.live) {
        return Err(Refusal::NotAllowed { detail: format!("agent {vantage} has no session") });
    }
    let now = state.now;
    let held = state.evidence.entry(vantage.clone()).or_default();
    // Of a check told twice in one entry the last word holds.
    let findings: BTreeMap<CheckId, Finding> =
        findings.into_iter().map(|finding| (finding.check.clone(), finding)).collect();
    let news = |finding: &Finding| {
        held.get(&finding.check).is_none_or(|evidence| evidence.condition != finding.condition)
    };
    let findings: Vec<Finding> = findings.into_values().filter(news).collect();
    // Checks that evidence is held of are known; the configuration is searched for new ones only.
    let known: BTreeSet<&CheckId> = if findings.iter().all(|finding| held.contains_key(&finding.check)) {
        BTreeSet::new()
    } else {
        config.checks.iter().map(|check| &check.id).collect()
    };
    let mut events = Vec::new();
    let mut changed = false;
    for finding in findings {
        let before = held.get(&finding.check).map(|evidence| evidence.condition);
        // A vantage may still report a check that a newer configuration has dropped.
        if before.is_none() && !known.contains(&finding.check) {
            continue;
        }
        changed = true;
        let before = before.unwrap_or(Condition::Unknown);
        let reason = kept(finding.reason, KEPT_REASON);
        let evidence =
            Evidence { condition: finding.condition, since: now - finding.age, reason: reason.clone() };
        Arc::make_mut(held).insert(finding.check.clone(), evidence);
        // A first healthy look is no news.
        if (before, finding.condition) != (Condition::Unknown, Condition::Healthy)
            && before != finding.condition
        {
            events.push(Event::EvidenceChanged {
                vantage: vantage.clone(),
                check: finding.check,
                from: before,
                to: finding.condition,
                reason,
            });
        }
    }
    for event in events {
        state.record(context, event);
    }
    Ok(changed)
}
