//! Weighted records: a dead or drained region leaves them, one that came back returns.

use std::time::Duration;

use super::Round;
use super::moves::{Case, Choice, Move};
use crate::config::{Region, Routing};
use crate::limits;
use crate::name::RegionName;
use crate::plan::{Kind, PlanStatus};
use crate::time::Time;
use crate::verdict::Verdict;

pub(super) fn choose(round: &mut Round, case: &Case) -> Choice {
    if case.state.paused.is_some() {
        return Choice::Rest;
    }
    // Few are weighted: that first, and the long list of what a region hosts last.
    let others = case.config.regions.iter().filter(|region| region.name != case.placement.primary);
    for region in others.filter(|region| is_weighted(case, &region.name)) {
        if let Some(change) = change(round, case, region) {
            return Choice::Move(change);
        }
    }
    Choice::Rest
}

fn is_weighted(case: &Case, region: &RegionName) -> bool {
    let records = case.config.services.get(case.service).map(|service| service.dns.as_slice());
    records.unwrap_or_default().iter().any(|record| match &record.routing {
        Routing::Weighted(weights) => weights.contains_key(region),
        Routing::Primary => false,
    })
}

fn change(round: &mut Round, case: &Case, region: &Region) -> Option<Move> {
    let Case { config, state, service, placement, now, .. } = *case;
    let (name, primary) = (&region.name, &placement.primary);
    let found = case.found.service(service, name)?;
    let drained = state.drained.get(name);
    let strategy = &config.strategy;
    let (kind, automatic, since, span, reason) = match (found.verdict, placement.left_out.contains(name)) {
        (verdict, false) if drained.is_some() && verdict != Verdict::Dead => {
            let why = drained.map(String::as_str).unwrap_or_default();
            (Kind::Withdraw, false, now, Duration::ZERO, format!("{name} is drained: {why}"))
        }
        (Verdict::Dead, false) => {
            let reason = format!("{service} is dead in {name}");
            (Kind::Withdraw, true, found.since, strategy.detection_timeout, reason)
        }
        (Verdict::Healthy, true) if drained.is_none() => {
            let reason = format!("{service} is healthy in {name}");
            (Kind::Restore, true, up_since(case, name), strategy.hold_down, reason)
        }
        _ => return None,
    };
    let (from, to) = match kind {
        Kind::Withdraw => (name.clone(), primary.clone()),
        _ => (primary.clone(), name.clone()),
    };
    if !round.passed(now, since, span) || just_failed(round, case, kind, &from, &to) {
        return None;
    }
    if automatic {
        if !strategy.automatic_failover {
            return None;
        }
        // The region that changes is the event, whichever way.
        if let Some(limit) = limits::exhausted(state, &strategy.moves, kind, service, &from, now) {
            round.wake(limit.until);
            return None;
        }
    }
    Some(Move { kind, from, to, automatic, needs_approval: false, reason, loss: None })
}

fn up_since(case: &Case, region: &RegionName) -> Time {
    let standings = [case.state.regions.get(region), case.placement.standing.get(region)];
    standings.into_iter().flatten().map(|standing| standing.since).max().unwrap_or(case.now)
}

/// The same change did not succeed lately.
fn just_failed(round: &mut Round, case: &Case, kind: Kind, from: &RegionName, to: &RegionName) -> bool {
    let last = case.state.plans.values().rev().find(|record| {
        let plan = &record.plan;
        plan.service == *case.service && plan.kind == kind && plan.from == *from && plan.to == *to
    });
    let Some(last) = last else { return false };
    matches!(last.status, PlanStatus::Stopped(_) | PlanStatus::Cancelled(_))
        && !last.steps.is_empty()
        && !last.has_moved()
        && !round.passed(case.now, last.ended_at.unwrap_or(case.now), case.config.strategy.hold_down)
}
