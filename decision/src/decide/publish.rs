//! Regent's own servers say what the state says. DNS servers of others must be told once for each
//! configuration, and not only when something moves; and again when a plan ended in the midst of
//! telling them.

use super::Round;
use super::home::held_back;
use super::moves::{Case, Choice, Move};
use crate::explain::Explanation;
use crate::plan::Kind;

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
