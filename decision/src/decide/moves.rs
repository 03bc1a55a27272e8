//! Whether a service is to be moved by itself.

use super::make::{Wish, plan};
use super::{Round, eligible};
use crate::command::Command;
use crate::config::{Config, Failback, Region, Routing};
use crate::explain::Explanation;
use crate::limits;
use crate::name::{RegionName, ServiceName};
use crate::plan::Kind;
use crate::state::{Placement, State};
use crate::time::{Human, Time};
use crate::verdict::{Picture, Verdict};

pub(super) fn consider(round: &mut Round, config: &Config, state: &State, service: &ServiceName, now: Time) {
    let Some(placement) = state.services.get(service) else { return };
    let mut why = Explanation::new(service);
    if let Some(open) = state.open_plan(service) {
        why.conclude(format!("{} is open", open.plan.id));
        round.explanations.insert(service.clone(), why);
        return;
    }
    let primary = &placement.primary;
    let assessment = Picture::new(config, state).service(service, primary);
    why.opinions.clone_from(&assessment.opinions);
    let verdict = assessment.verdict;
    let sick = verdict != Verdict::Healthy;
    why.rule("primary", !sick, format!("{service} in {primary} is {verdict}: {}", assessment.because));

    let wish = match verdict {
        Verdict::Dead => failover(round, config, state, &mut why, placement, assessment.since, now),
        Verdict::Healthy | Verdict::Degraded => {
            let planned = evacuate(round, config, state, &mut why, placement, now)
                .or_else(|| go_home(round, config, state, &mut why, placement, now))
                .or_else(|| weigh(round, config, state, &mut why, placement, now));
            if planned.is_none() && why.conclusion.is_empty() {
                why.conclude(match verdict {
                    Verdict::Degraded => "a grey region is advice, never alone a cause for failover",
                    _ => "the primary is healthy",
                });
            }
            planned
        }
        Verdict::Partitioned => {
            why.conclude(format!("{primary} is partitioned, not dead: {}", assessment.because));
            None
        }
        Verdict::Unknown => {
            why.conclude(format!("nothing certain is known of {primary}: {}", assessment.because));
            None
        }
    };
    match wish {
        Some(wish) => open(round, config, state, service, primary, wish, why),
        None => {
            // Before the first look there is nothing to explain.
            let looked = placement.standing.get(primary).is_some_and(|standing| standing.since > Time(0));
            if sick && looked && state.held.get(service) != Some(&why.conclusion) {
                round.commands.push(Command::Hold { explanation: why.clone() });
            }
            round.explanations.insert(service.clone(), why);
        }
    }
}

/// What to open, before it is a plan.
struct Move {
    kind: Kind,
    from: RegionName,
    to: RegionName,
    automatic: bool,
    needs_approval: bool,
    reason: String,
}

fn open(
    round: &mut Round,
    config: &Config,
    state: &State,
    service: &ServiceName,
    primary: &RegionName,
    wanted: Move,
    mut why: Explanation,
) {
    why.conclude(format!("{} of {service} from {} to {}: {}", wanted.kind, wanted.from, wanted.to, wanted.reason));
    let wish = Wish {
        kind: wanted.kind,
        service,
        from: &wanted.from,
        to: &wanted.to,
        automatic: wanted.automatic,
        needs_approval: wanted.needs_approval,
        reason: wanted.reason,
    };
    match plan(config, state, wish) {
        Some(plan) => {
            round.commands.push(Command::OpenPlan { plan, explanation: Some(why.clone()) });
        }
        None => why.conclude(format!("no plan can be made out of {primary}")),
    }
    round.explanations.insert(service.clone(), why);
}

/// The rules before a forced move, in order; the first that fails is the reason not to act.
fn failover(
    round: &mut Round,
    config: &Config,
    state: &State,
    why: &mut Explanation,
    placement: &Placement,
    dead_since: Time,
    now: Time,
) -> Option<Move> {
    let service = why.service.clone();
    let from = &placement.primary;
    let strategy = &config.strategy;
    let timeout = strategy.detection_timeout;
    let detected = round.passed(now, dead_since, timeout);
    if !why.rule("detection", detected, format!("a majority must have agreed for {}", Human(timeout))) {
        why.conclude(format!("the detection timeout of {} has not passed yet", Human(timeout)));
        return None;
    }
    if !may_act(round, config, state, why, placement, now) {
        return None;
    }
    let exhausted = limits::exhausted(state, &strategy.moves, &service, from, now);
    if let Some(limit) = &exhausted {
        round.wake(limit.until);
    }
    let text = exhausted.map(|limit| limit.to_string());
    if !why.rule("blast radius", text.is_none(), text.clone().unwrap_or_else(|| "within the limits on moves".into())) {
        why.conclude(text.unwrap_or_default());
        return None;
    }
    let target = target(round, config, state, why, from, now)?;
    Some(Move {
        kind: Kind::Failover,
        from: from.clone(),
        to: target.name.clone(),
        automatic: true,
        needs_approval: strategy.manual_approval_required,
        reason: format!("{service} is dead in {from}"),
    })
}

/// Rules common to everything that nobody asked for.
fn may_act(
    round: &mut Round,
    config: &Config,
    state: &State,
    why: &mut Explanation,
    placement: &Placement,
    now: Time,
) -> bool {
    let strategy = &config.strategy;
    let paused = state.paused.as_deref();
    if !why.rule("not paused", paused.is_none(), paused.unwrap_or("automation runs")) {
        why.conclude(format!("automation is paused: {}", paused.unwrap_or_default()));
        return false;
    }
    let automatic = strategy.automatic_failover;
    if !why.rule("automatic failover", automatic, format!("automatic_failover: {automatic}")) {
        why.conclude("automatic failover is off: a person decides (`failover switchover`)");
        return false;
    }
    let stayed = placement.epoch.0 <= 1 || round.passed(now, placement.since, strategy.min_stay);
    let stay = Human(strategy.min_stay);
    if !why.rule("minimum stay", stayed, format!("a service that moved stays at least {stay}")) {
        why.conclude(format!("it moved less than {stay} ago"));
        return false;
    }
    true
}

fn target<'a>(
    round: &mut Round,
    config: &'a Config,
    state: &State,
    why: &mut Explanation,
    from: &RegionName,
    now: Time,
) -> Option<&'a Region> {
    let service = why.service.clone();
    let (eligible, rejected) = eligible::candidates(round, config, state, &service, from, now);
    why.rejected = rejected;
    let found = eligible.first().copied();
    let detail = match found {
        Some(region) => format!("{} is the first eligible region", region.name),
        None => "no region is eligible".to_owned(),
    };
    if !why.rule("eligible region", found.is_some(), detail) {
        let reasons: Vec<String> =
            why.rejected.iter().map(|rejected| format!("{}: {}", rejected.region, rejected.why)).collect();
        why.conclude(format!("no region is eligible ({})", reasons.join("; ")));
    }
    found
}

/// A drained region is left, as its operator asked.
fn evacuate(
    round: &mut Round,
    config: &Config,
    state: &State,
    why: &mut Explanation,
    placement: &Placement,
    now: Time,
) -> Option<Move> {
    let from = &placement.primary;
    let drained = state.drained.get(from)?;
    if let Some(paused) = &state.paused {
        why.conclude(format!("{from} is drained, but automation is paused: {paused}"));
        return None;
    }
    // A plan that failed is not begun anew by itself.
    if last_ended_badly(state, &why.service, Kind::Switchover, from) {
        why.conclude(format!("{from} is drained, but the last switchover out of it did not succeed"));
        return None;
    }
    let target = target(round, config, state, why, from, now)?;
    Some(Move {
        kind: Kind::Switchover,
        from: from.clone(),
        to: target.name.clone(),
        automatic: false,
        needs_approval: false,
        reason: format!("{from} is drained: {drained}"),
    })
}

fn last_ended_badly(state: &State, service: &ServiceName, kind: Kind, from: &RegionName) -> bool {
    use crate::plan::PlanStatus;
    let last = state.plans.values().rev().find(|record| record.plan.service == *service);
    last.is_some_and(|last| {
        last.plan.kind == kind
            && last.plan.from == *from
            && matches!(last.status, PlanStatus::Stopped(_) | PlanStatus::Cancelled(_))
    })
}

/// Back to the first region that hosts it, where the configuration says so.
fn go_home(
    round: &mut Round,
    config: &Config,
    state: &State,
    why: &mut Explanation,
    placement: &Placement,
    now: Time,
) -> Option<Move> {
    let service = why.service.clone();
    let home = config.hosts(&service).next()?;
    if home.name == placement.primary || config.strategy.failback != Failback::Automatic {
        return None;
    }
    if last_ended_badly(state, &service, Kind::Failback, &placement.primary) {
        return None;
    }
    let up_since = state.regions.get(&home.name).map_or(now, |standing| standing.since);
    if !round.passed(now, up_since, config.strategy.hold_down)
        || eligible::obstacle(round, config, state, &service, home, now).is_some()
        || !may_act(round, config, state, why, placement, now)
        || limits::exhausted(state, &config.strategy.moves, &service, &placement.primary, now).is_some()
    {
        return None;
    }
    Some(Move {
        kind: Kind::Failback,
        from: placement.primary.clone(),
        to: home.name.clone(),
        automatic: true,
        needs_approval: config.strategy.manual_approval_required,
        reason: format!("{} was healthy for {}", home.name, Human(config.strategy.hold_down)),
    })
}

/// Weighted records: a dead region leaves them, one that came back returns.
fn weigh(
    round: &mut Round,
    config: &Config,
    state: &State,
    why: &mut Explanation,
    placement: &Placement,
    now: Time,
) -> Option<Move> {
    let service = why.service.clone();
    let records = &config.services.get(&service)?.dns;
    let is_weighted = |region: &RegionName| {
        records.iter().any(|record| match &record.routing {
            Routing::Weighted(weights) => weights.contains_key(region),
            Routing::Primary => false,
        })
    };
    let others = config.hosts(&service).filter(|region| region.name != placement.primary && is_weighted(&region.name));
    for region in others {
        let verdict = state.service_verdict(&service, &region.name);
        let since = state.regions.get(&region.name).map_or(now, |standing| standing.since);
        let out = placement.left_out.contains(&region.name);
        let (kind, from, to, after) = match (verdict, out) {
            (Verdict::Dead, false) => {
                (Kind::Withdraw, region.name.clone(), placement.primary.clone(), std::time::Duration::ZERO)
            }
            (Verdict::Healthy, true) if !state.drained.contains_key(&region.name) => {
                (Kind::Restore, placement.primary.clone(), region.name.clone(), config.strategy.hold_down)
            }
            _ => continue,
        };
        let dead_since = Picture::new(config, state).service(&service, &region.name).since;
        let due = match kind {
            Kind::Withdraw => round.passed(now, dead_since, config.strategy.detection_timeout),
            _ => round.passed(now, since, after),
        };
        let free = state.paused.is_none()
            && config.strategy.automatic_failover
            && limits::exhausted(state, &config.strategy.moves, &service, &from, now).is_none();
        if due && free {
            let reason = format!("{service} is {verdict} in {}", region.name);
            return Some(Move { kind, from, to, automatic: true, needs_approval: false, reason });
        }
    }
    None
}
