//! The rules before a forced move, in order; the first that fails is the reason not to act.

use super::moves::{Case, Choice, Move, may_act, target};
use super::{Round, eligible};
use crate::config::Region;
use crate::explain::{Explanation, Rejected};
use crate::limits;
use crate::plan::{Kind, PlanRecord, PlanStatus};
use crate::time::{Human, Time};

pub(super) fn choose(round: &mut Round, case: &Case, why: &mut Explanation, dead_since: Time) -> Choice {
    let Case { config, state, service, .. } = *case;
    let from = &case.placement.primary;
    let strategy = &config.strategy;
    let timeout = Human(strategy.detection_timeout);
    let detected = round.passed(case.now, dead_since, strategy.detection_timeout);
    if !why.rule("detection", detected, format!("a majority must have agreed for {timeout}")) {
        why.conclude(format!("the detection timeout of {timeout} has not passed yet"));
        return Choice::Wait;
    }
    if !may_act(round, case, why) {
        return Choice::Hold;
    }
    let cancelled = attempts(case).rev().find(|record| matches!(record.status, PlanStatus::Cancelled(_)));
    if let Some(record) = cancelled {
        let id = record.plan.id;
        why.rule("not cancelled", false, format!("{id} out of this failure was cancelled"));
        why.conclude(format!("{id} was cancelled: a person decides (`failover switchover`)"));
        return Choice::Hold;
    }
    let exhausted = limits::exhausted(state, &strategy.moves, Kind::Failover, service, from, case.now);
    if let Some(limit) = &exhausted {
        round.wake(limit.until);
    }
    let text = exhausted.map(|limit| limit.to_string());
    if !why.rule(
        "blast radius",
        text.is_none(),
        text.clone().unwrap_or_else(|| "within the limits on moves".into()),
    ) {
        why.conclude(text.unwrap_or_default());
        return Choice::Hold;
    }
    let (eligible, rejected) = eligible::candidates(round, config, state, service, from, case.now);
    why.rejected = rejected;
    let eligible = not_just_tried(round, case, why, eligible);
    let Some(target) = target(case, why, &eligible) else { return Choice::Hold };
    Choice::Move(Move {
        kind: Kind::Failover,
        from: from.clone(),
        to: target.name.clone(),
        automatic: true,
        needs_approval: strategy.manual_approval_required,
        reason: format!("{service} is dead in {from}"),
        loss: None,
    })
}

/// Plans out of the failure that lasts now, which have ended.
fn attempts<'a>(case: &Case<'a>) -> impl DoubleEndedIterator<Item = &'a PlanRecord> {
    let (service, placement) = (case.service, case.placement);
    let died = placement.standing.get(&placement.primary).map_or(case.now, |standing| standing.since);
    case.state.plans.values().map(|record| &**record).filter(move |record| {
        !record.is_open()
            && record.plan.kind == Kind::Failover
            && record.opened_at >= died
            && record.plan.service == *service
            && record.plan.from == placement.primary
    })
}

/// A region that a plan has just failed to move to is left alone for the hold-down; another may
/// be tried meanwhile.
fn not_just_tried<'a>(
    round: &mut Round,
    case: &Case,
    why: &mut Explanation,
    eligible: Vec<&'a Region>,
) -> Vec<&'a Region> {
    let hold_down = case.config.strategy.hold_down;
    let mut left = Vec::new();
    for region in eligible {
        let failed = attempts(case).rev().find(|record| {
            record.plan.to == region.name
                && matches!(record.status, PlanStatus::Stopped(_))
                && !record.steps.is_empty()
        });
        match failed {
            Some(record) if !round.passed(case.now, record.ended_at.unwrap_or(case.now), hold_down) => {
                let (id, hold_down) = (record.plan.id, Human(hold_down));
                let why_not = format!("{id} to it stopped less than {hold_down} ago");
                why.rejected.push(Rejected { region: region.name.clone(), why: why_not });
            }
            _ => left.push(region),
        }
    }
    left
}
