//! Planned moves: out of a drained region, and back home.

use super::moves::{Case, Choice, Move, may_act, target};
use super::{Round, eligible, publish};
use crate::config::{Failback, MoveLimits, Region};
use crate::explain::Explanation;
use crate::limits;
use crate::name::RegionName;
use crate::plan::{Kind, PlanStatus};
use crate::state::Standing;
use crate::time::Human;

/// A drained region is left, as its operator asked.
pub(super) fn evacuate(round: &mut Round, case: &Case, why: &mut Explanation) -> Choice {
    let from = &case.placement.primary;
    let Some(drained) = case.state.drained.get(from) else { return Choice::Rest };
    if let Some(obstacle) = held_back(round, case, Kind::Switchover) {
        why.conclude(format!("{from} is drained, but {obstacle}"));
        return Choice::Hold;
    }
    let (eligible, rejected) =
        eligible::candidates(round, case.config, case.state, case.service, from, case.now);
    why.rejected = rejected;
    if let Some(region) = unseen(case) {
        why.conclude(format!("{from} is drained, but nobody has yet looked at {} in {region}", case.service));
        return Choice::Hold;
    }
    let Some(target) = target(case, why, &eligible) else {
        why.conclude(format!("{from} is drained, but {}", why.conclusion));
        return Choice::Hold;
    };
    Choice::Move(Move {
        kind: Kind::Switchover,
        from: from.clone(),
        to: target.name.clone(),
        automatic: false,
        needs_approval: false,
        reason: format!("{from} is drained: {drained}"),
        loss: None,
    })
}

/// A region that may prove better than those already judged: what is planned can wait for the first look.
fn unseen<'a>(case: &Case<'a>) -> Option<&'a RegionName> {
    let is_unseen = |region: &&Region| {
        let standing = case.placement.standing.get(&region.name);
        standing.is_none_or(Standing::is_unseen)
            && case.state.has_live_agent(&region.name)
            && !case.state.drained.contains_key(&region.name)
    };
    case.config.hosts(case.service).find(is_unseen).map(|region| &region.name)
}

/// Back to the first region that hosts it, where the configuration says so.
pub(super) fn go_home(round: &mut Round, case: &Case, why: &mut Explanation) -> Choice {
    let Case { config, state, service, placement, now, .. } = *case;
    if config.strategy.failback != Failback::Automatic {
        return Choice::Rest;
    }
    let home = config.hosts(service).next().filter(|home| home.name != placement.primary);
    let Some(home) = home else { return Choice::Rest };
    let hold_down = config.strategy.hold_down;
    let obstacle = eligible::obstacle(round, config, state, service, home, now);
    let detail = obstacle.clone().unwrap_or_else(|| format!("{} may take it back", home.name));
    if !why.rule("way home", obstacle.is_none(), detail) {
        return Choice::Rest;
    }
    let in_region = state.regions.get(&home.name);
    let in_it = placement.standing.get(&home.name);
    let up_since = in_region.into_iter().chain(in_it).map(|standing| standing.since).max().unwrap_or(now);
    let rested = round.passed(now, up_since, hold_down);
    if !why.rule("hold-down", rested, format!("{} must be up for {}", home.name, Human(hold_down))) {
        return Choice::Rest;
    }
    let tried = tried(round, case, Kind::Failback);
    if !why.rule("not tried", tried.is_none(), tried.unwrap_or_else(|| "no failback failed lately".into()))
        || !may_act(round, case, why)
    {
        return Choice::Rest;
    }
    // A convenience must not use up the last move, which a failure may need.
    let moves = config.strategy.moves;
    let reserved = MoveLimits {
        per_service: moves.per_service.saturating_sub(1),
        overall: moves.overall.saturating_sub(1),
        ..moves
    };
    let exhausted = limits::exhausted(state, &reserved, Kind::Failback, service, &placement.primary, now);
    if let Some(limit) = exhausted {
        round.wake(limit.until);
        why.rule("blast radius", false, format!("{limit}, one left for a failure"));
        return Choice::Rest;
    }
    Choice::Move(Move {
        kind: Kind::Failback,
        from: placement.primary.clone(),
        to: home.name.clone(),
        automatic: true,
        needs_approval: config.strategy.manual_approval_required,
        reason: format!("{} was healthy for {}", home.name, Human(hold_down)),
        loss: None,
    })
}

/// Why what is wanted is not done by itself now.
pub(super) fn held_back(round: &mut Round, case: &Case, kind: Kind) -> Option<String> {
    match &case.state.paused {
        Some(paused) => Some(format!("automation is paused: {paused}")),
        None => tried(round, case, kind),
    }
}

/// A planned move that did not succeed is begun anew only after the hold-down; one that a person
/// cancelled, never by itself.
fn tried(round: &mut Round, case: &Case, kind: Kind) -> Option<String> {
    let from = &case.placement.primary;
    let last = case.state.plans.values().rev().find(|record| record.plan.service == *case.service)?;
    // What is published moves nothing, and what another configuration wanted is no matter now.
    let is_moot = match kind {
        Kind::Publish => last.plan.parent.config_generation != case.state.config_generation,
        _ => last.has_moved(),
    };
    if last.plan.kind != kind || last.plan.from != *from || is_moot {
        return None;
    }
    let (id, hold_down) = (last.plan.id, case.config.strategy.hold_down);
    match last.status {
        PlanStatus::Cancelled(_) => Some(format!("{id} was cancelled: a person decides")),
        PlanStatus::Stopped(_) if last.steps.is_empty() => None,
        PlanStatus::Stopped(_) => {
            let pause =
                if kind == Kind::Publish { publish::again_in(case).min(hold_down) } else { hold_down };
            let rested = round.passed(case.now, last.ended_at.unwrap_or(case.now), pause);
            (!rested).then(|| format!("{id} stopped less than {} ago", Human(pause)))
        }
        _ => None,
    }
}
