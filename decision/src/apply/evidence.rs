use super::{Applied, Context, KEPT_REASON, kept};
use crate::command::Refusal;
use crate::event::Event;
use crate::evidence::{Condition, Evidence, Finding};
use crate::name::AgentId;
use crate::state::State;

pub(super) fn take(state: &mut State, context: &Context, vantage: AgentId, findings: Vec<Finding>) -> Applied {
    let config = state.config.as_ref().ok_or(Refusal::NotConfigured)?;
    if !state.sessions.get(&vantage).is_some_and(|session| session.live) {
        return Err(Refusal::NotAllowed { detail: format!("agent {vantage} has no session") });
    }
    let now = state.now;
    let mut events = Vec::new();
    let mut changed = false;
    let found = state.evidence.entry(vantage.clone()).or_default();
    for finding in findings {
        // A vantage may still report a check that a newer configuration has dropped.
        if !config.checks.iter().any(|check| check.id == finding.check) {
            continue;
        }
        let before = found.get(&finding.check).map_or(Condition::Unknown, |evidence| evidence.condition);
        if before == finding.condition && found.contains_key(&finding.check) {
            continue;
        }
        changed = true;
        let reason = kept(finding.reason, KEPT_REASON);
        let evidence = Evidence { condition: finding.condition, since: now - finding.age, reason: reason.clone() };
        found.insert(finding.check.clone(), evidence);
        // A first healthy look is no news.
        if (before, finding.condition) != (Condition::Unknown, Condition::Healthy) && before != finding.condition {
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
