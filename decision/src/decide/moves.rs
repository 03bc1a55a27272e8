//! Whether a service is to be moved by itself.

use super::make::{Wish, plan};
use super::{Round, database, failover, home, publish, weigh};
use crate::command::Command;
use crate::config::{Config, Region};
use crate::database::Loss;
use crate::explain::Explanation;
use crate::name::{RegionName, ServiceName};
use crate::plan::Kind;
use crate::state::{Placement, State};
use crate::time::{Human, Time};
use crate::verdict::{Conclusions, Verdict};

/// What the rules look at for one service.
pub(super) struct Case<'a> {
    pub(super) config: &'a Config,
    pub(super) state: &'a State,
    pub(super) found: &'a Conclusions,
    pub(super) service: &'a ServiceName,
    pub(super) placement: &'a Placement,
    pub(super) now: Time,
    /// When the leader's term began.
    pub(super) term: Time,
}

/// What the rules came to.
pub(super) enum Choice {
    Move(Move),
    /// It will move when a time has passed, if nothing changes: no refusal, so not journalled.
    Wait,
    /// It would have to move, and does not.
    Hold,
    /// There is nothing to do.
    Rest,
}

/// What to open, before it is a plan.
pub(super) struct Move {
    pub(super) kind: Kind,
    pub(super) from: RegionName,
    pub(super) to: RegionName,
    pub(super) automatic: bool,
    pub(super) needs_approval: bool,
    pub(super) reason: String,
    pub(super) loss: Option<Loss>,
}

pub(super) fn consider(
    round: &mut Round,
    config: &Config,
    state: &State,
    found: &Conclusions,
    service: &ServiceName,
    (now, term): (Time, Time),
) -> Option<Command> {
    let placement = state.services.get(service)?;
    let mut why = Explanation::new(service);
    let command = match state.open_plan(service) {
        Some(open) => {
            let held = state.paused.is_some() && open.plan.automatic && !open.is_committed();
            let paused = if held { ", and waits while automation is paused" } else { "" };
            why.conclude(format!("{} is open{paused}", open.plan.id));
            None
        }
        None => {
            let case = Case { config, state, found, service, placement, now, term };
            match choose(round, &case, &mut why) {
                Choice::Move(wanted) => open(&case, wanted, &mut why),
                Choice::Hold => hold(&case, &why),
                Choice::Wait | Choice::Rest => None,
            }
        }
    };
    round.explanations.insert(service.clone(), why);
    command
}

fn choose(round: &mut Round, case: &Case, why: &mut Explanation) -> Choice {
    if let Some(choice) = database::choose(round, case, why) {
        return choice;
    }
    let (service, primary) = (case.service, &case.placement.primary);
    let Some(assessment) = case.found.service(service, primary) else {
        why.conclude(format!("{primary} does not host {service}"));
        return Choice::Hold;
    };
    why.opinions.clone_from(&assessment.opinions);
    let verdict = assessment.verdict;
    let well = verdict == Verdict::Healthy;
    why.rule("primary", well, format!("{service} in {primary} is {verdict}: {}", assessment.because));
    match verdict {
        Verdict::Dead => failover::choose(round, case, why, assessment.since),
        Verdict::Healthy | Verdict::Degraded => choose_planned(round, case, why, verdict),
        Verdict::Partitioned => {
            why.conclude(format!("{primary} is partitioned, not dead: {}", assessment.because));
            Choice::Hold
        }
        Verdict::Unknown => {
            why.conclude(format!("nothing certain is known of {primary}: {}", assessment.because));
            Choice::Hold
        }
    }
}

/// What may be done while the primary serves, the more urgent first.
fn choose_planned(round: &mut Round, case: &Case, why: &mut Explanation, verdict: Verdict) -> Choice {
    let drain = home::evacuate(round, case, why);
    if let Choice::Move(_) = drain {
        return drain;
    }
    let weights = weigh::choose(round, case);
    if let Choice::Move(_) = weights {
        return weights;
    }
    if let Choice::Hold = drain {
        return drain;
    }
    let names = publish::choose(round, case, why);
    if let Choice::Move(_) | Choice::Hold = names {
        return names;
    }
    let back = home::go_home(round, case, why);
    if let Choice::Move(_) = back {
        return back;
    }
    if verdict == Verdict::Degraded {
        why.conclude("a grey region is advice, never alone a cause for failover");
        return Choice::Hold;
    }
    why.conclude("the primary is healthy");
    Choice::Rest
}

fn open(case: &Case, wanted: Move, why: &mut Explanation) -> Option<Command> {
    let service = case.service;
    why.conclude(format!(
        "{} of {service} from {} to {}: {}",
        wanted.kind, wanted.from, wanted.to, wanted.reason
    ));
    let wish = Wish {
        kind: wanted.kind,
        service,
        from: &wanted.from,
        to: &wanted.to,
        automatic: wanted.automatic,
        needs_approval: wanted.needs_approval,
        reason: wanted.reason,
        loss: wanted.loss,
        accepts_loss: false,
        at_once: false,
    };
    let Some(plan) = plan(case.config, case.state, wish) else {
        why.conclude(format!("no plan can be made: a zone of {service} is not configured"));
        return hold(case, why);
    };
    Some(Command::OpenPlan { plan, explanation: Some(why.clone()) })
}

/// Told once for each new conclusion, and not before the first look.
fn hold(case: &Case, why: &Explanation) -> Option<Command> {
    let looked =
        case.placement.standing.get(&case.placement.primary).is_some_and(|standing| !standing.is_unseen());
    let is_new = case.state.held.get(case.service) != Some(&why.conclusion);
    (looked && is_new).then(|| Command::Hold { explanation: why.clone() })
}

/// Rules common to everything that nobody asked for.
pub(super) fn may_act(round: &mut Round, case: &Case, why: &mut Explanation) -> bool {
    let strategy = &case.config.strategy;
    let paused = case.state.paused.as_deref();
    if !why.rule("not paused", paused.is_none(), paused.unwrap_or("automation runs")) {
        why.conclude(format!("automation is paused: {}", paused.unwrap_or_default()));
        return false;
    }
    let automatic = strategy.automatic_failover;
    if !why.rule("automatic failover", automatic, format!("automatic_failover: {automatic}")) {
        why.conclude("automatic failover is off: a person decides (`failover switchover`)");
        return false;
    }
    let placement = case.placement;
    let stayed = !placement.moved || round.passed(case.now, placement.since, strategy.min_stay);
    let stay = Human(strategy.min_stay);
    if !why.rule("minimum stay", stayed, format!("a service that moved stays at least {stay}")) {
        why.conclude(format!("it moved less than {stay} ago"));
        return false;
    }
    true
}

/// The best of the regions that may take the service over; the conclusion says why there is none.
pub(super) fn target<'a>(
    case: &Case<'a>,
    why: &mut Explanation,
    eligible: &[&'a Region],
) -> Option<&'a Region> {
    let found = eligible.first().copied();
    let detail = match found {
        Some(region) => format!("{} is the first eligible region", region.name),
        None => "no region is eligible".to_owned(),
    };
    if !why.rule("eligible region", found.is_some(), detail) {
        let reasons: Vec<String> =
            why.rejected.iter().map(|rejected| format!("{}: {}", rejected.region, rejected.why)).collect();
        why.conclude(match reasons.is_empty() {
            true => format!("no region is eligible: {} is the only one", case.placement.primary),
            false => format!("no region is eligible ({})", reasons.join("; ")),
        });
    }
    found
}
