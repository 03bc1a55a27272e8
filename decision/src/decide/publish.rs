//! Regent's own servers say what the state says. DNS servers of others must be told once for each
//! configuration, and not only when something moves; and again when a plan ended in the midst of
//! telling them.

use std::time::Duration;

use super::Round;
use super::home::held_back;
use super::moves::{Case, Choice, Move};
use crate::explain::Explanation;
use crate::plan::{Kind, PlanStatus};

const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MOST: Duration = Duration::from_secs(60);

pub(super) fn choose(round: &mut Round, case: &Case, why: &mut Explanation) -> Choice {
    let generation = case.state.config_generation;
    if case.placement.published == generation || !case.config.is_named_elsewhere(case.service) {
        return Choice::Rest;
    }
    if let Some(obstacle) = held_back(round, case, Kind::Publish) {
        why.conclude(format!("its names are to be published, but {obstacle}"));
        return Choice::Hold;
    }
    let primary = &case.placement.primary;
    Choice::Move(Move {
        kind: Kind::Publish,
        from: primary.clone(),
        to: primary.clone(),
        automatic: false,
        needs_approval: false,
        reason: match case.placement.published {
            0 if case.placement.moved => "a shift of DNS ended in doubt".into(),
            _ => format!("configuration generation {generation} names it in DNS servers of others"),
        },
        loss: None,
    })
}

/// Longer after each time that it was in vain, up to a minute: servers that were away for a moment are to hear soon, and
/// those that are away for hours are not to fill the journal.
pub(super) fn again_in(case: &Case) -> Duration {
    let of_service = case.state.plans.values().rev().filter(|record| record.plan.service == *case.service);
    let in_vain = of_service.take_while(|record| {
        record.plan.kind == Kind::Publish && matches!(record.status, PlanStatus::Stopped(_))
    });
    AGAIN.saturating_mul(in_vain.count() as u32).min(AGAIN_MOST)
}
