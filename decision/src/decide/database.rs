//! Whether a database needs another primary, and which: a lease that has surely expired is ended;
//! then everybody comes to rest and tells its position; then the most advanced is promoted.

use std::time::Duration;

use super::moves::{Case, Choice, Move};
use super::{LeaseView, Round, eligible};
use crate::command::Command;
use crate::config::{Config, Database};
use crate::database::branch::Branch;
use crate::database::{
    InstanceReport, InstanceRole, Loss, Owner, Ownership, Position, Proof, Vacancy, lease,
};
use crate::explain::{Explanation, Rejected};
use crate::limits;
use crate::name::{RegionName, ServiceName};
use crate::plan::{Action, Kind, Step, StepStatus};
use crate::planted::{self, Bug};
use crate::state::State;
use crate::time::{Human, Time};
use crate::verdict::Verdict;

/// How long those who live have to come to rest and tell their position; what is slower is left out.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);
/// From then on nobody is waited for once one may be promoted that has all that anybody is known to have: an
/// instance whose disk hangs would cost more than it could have.
const ENOUGH_WITHIN: Duration = Duration::from_millis(500);
/// At most, after a promotion that failed; no longer than the hold-down.
const RETRY_AFTER: Duration = Duration::from_secs(15);
/// The first primary is chosen when every region has told what it has, or after this.
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(30);

/// Leases that have surely expired. Where nothing is to be moved by itself, none is ended: its
/// holder may come back and go on.
pub(super) fn expire(
    round: &mut Round,
    config: &Config,
    state: &State,
    view: &LeaseView,
    now: Time,
) -> Vec<Command> {
    let mut commands = Vec::new();
    for (service, held) in &state.databases {
        let (Some((wished, _)), Some(holder)) = (state.database(service), held.holder()) else { continue };
        let is_told_to_end = state.fencing(service, holder).is_some();
        if !is_told_to_end && (!moves_by_itself(config, state) || too_few_vantages(config, state).is_some()) {
            continue;
        }
        let renewed = view.renewed(service, held.epoch, held.since);
        let heard = renewed.heard;
        if round.passed(now, heard, lease::span(held.counted_ttl(wished))) {
            let (service, epoch) = (service.clone(), held.epoch);
            let (position, told_at) = (renewed.position, Some(renewed.told_at));
            commands.push(Command::ExpireLease { service, epoch, heard, position, told_at });
        }
    }
    commands
}

fn moves_by_itself(config: &Config, state: &State) -> bool {
    let strategy = &config.strategy;
    state.paused.is_none() && strategy.automatic_failover
}

/// S5: whoever sees too little moves nothing. Says why.
pub(crate) fn too_few_vantages(config: &Config, state: &State) -> Option<String> {
    let all: usize = config.regions.iter().map(|region| usize::from(region.agents)).sum();
    let (live, needed) = (state.live_agents().len(), all / 2 + 1);
    (live < needed).then(|| format!("{live} of {all} vantages have a session, {needed} are needed"))
}

/// None: it has no database, or one that is in good hands; the other rules go on.
pub(super) fn choose(round: &mut Round, case: &Case, why: &mut Explanation) -> Option<Choice> {
    let (wished, held) = case.state.database(case.service)?;
    let vacancy = match &held.owner {
        Owner::Held(holder) => return strayed(round, case, holder, why),
        Owner::Vacant(vacancy) => vacancy,
    };
    why.rule("database", false, format!("nobody writes since epoch {}: {}", held.epoch, vacancy.why));
    Some(fill(round, case, why, wished, held, vacancy))
}

/// The rules before anything is moved by itself because of a database. `what` is the matter with it.
fn may_act(case: &Case, why: &mut Explanation, what: &str) -> bool {
    let service = case.service;
    let paused = case.state.paused.as_deref();
    if !why.rule("not paused", paused.is_none(), paused.unwrap_or("automation runs")) {
        why.conclude(format!("{what}, and automation is paused: {}", paused.unwrap_or_default()));
        return false;
    }
    let automatic = case.config.strategy.automatic_failover;
    if !why.rule("automatic failover", automatic, format!("automatic_failover: {automatic}")) {
        why.conclude(format!("{what}, and automatic failover is off: `failover failover {service}`"));
        return false;
    }
    let blind = too_few_vantages(case.config, case.state);
    let seen = blind.clone().unwrap_or_else(|| "a majority of vantages has a session".into());
    if !why.rule("vantages", blind.is_none(), seen) {
        why.conclude(format!("{what}, but {}", blind.unwrap_or_default()));
        return false;
    }
    true
}

fn is_within_limits(round: &mut Round, case: &Case, why: &mut Explanation, kind: Kind, what: &str) -> bool {
    let (moves, from) = (&case.config.strategy.moves, &case.placement.primary);
    let exhausted = limits::exhausted(case.state, moves, kind, case.service, from, case.now);
    if let Some(limit) = &exhausted {
        round.wake(limit.until);
    }
    let text = exhausted.map(|limit| limit.to_string());
    let detail = text.clone().unwrap_or_else(|| "within the limits on moves".into());
    if !why.rule("blast radius", text.is_none(), detail) {
        why.conclude(format!("{what}, but {}", text.unwrap_or_default()));
        return false;
    }
    true
}

/// A promotion that succeeded after its plan had ended: names follow.
fn strayed(round: &mut Round, case: &Case, holder: &RegionName, why: &mut Explanation) -> Option<Choice> {
    let primary = &case.placement.primary;
    if holder == primary || case.state.region_verdict(holder) == Verdict::Dead {
        return None;
    }
    let what = format!("its database is written in {holder}, not in {primary}");
    why.rule("database", false, what.clone());
    if let Some(reason) = case.state.drained.get(holder) {
        why.conclude(format!("{what}, which is drained: {reason}"));
        return Some(Choice::Hold);
    }
    if !may_act(case, why, &what) || !is_within_limits(round, case, why, Kind::Failover, &what) {
        return Some(Choice::Hold);
    }
    Some(Choice::Move(Move {
        kind: Kind::Failover,
        from: primary.clone(),
        to: holder.clone(),
        automatic: true,
        needs_approval: false,
        reason: format!("the database of {} is written in {holder} already", case.service),
        loss: None,
    }))
}

fn fill(
    round: &mut Round,
    case: &Case,
    why: &mut Explanation,
    wished: &Database,
    held: &Ownership,
    vacancy: &Vacancy,
) -> Choice {
    let (config, service) = (case.config, case.service);
    let strategy = &config.strategy;
    if !may_act(case, why, "its database has no primary") {
        return Choice::Hold;
    }
    if let Some(waiting) = still_settling(round, case, wished, held, vacancy)
        && !is_enough(round, case, why, wished, held, vacancy)
    {
        why.conclude(format!("its database has no primary; {waiting}"));
        return Choice::Wait;
    }
    let from = &case.placement.primary;
    let candidates = ranked(round, case, why, wished, held, vacancy);
    if let (true, Some(waiting)) = (candidates.is_empty(), last_to_settle(round, case, held, vacancy)) {
        why.conclude(format!("its database has no primary; {waiting}"));
        return Choice::Wait;
    }
    // To go on where it was needs nobody's word.
    let stays = candidates.iter().find(|candidate| candidate.region == *from);
    let best = stays.filter(|_| strategy.manual_approval_required).or(candidates.first());
    let Some(best) = best else {
        let reasons: Vec<String> =
            why.rejected.iter().map(|rejected| format!("{}: {}", rejected.region, rejected.why)).collect();
        why.conclude(format!(
            "its database has no primary and none can be promoted ({})",
            reasons.join("; ")
        ));
        return Choice::Hold;
    };
    let kind = if best.region == *from { Kind::Recover } else { Kind::Failover };
    if !is_within_limits(round, case, why, kind, "its database has no primary") {
        return Choice::Hold;
    }
    let reason = match &vacancy.proof {
        Proof::NeverOwned => format!("the database of {service} gets its first primary"),
        _ => format!("the database of {service} has no primary: {}", vacancy.why),
    };
    Choice::Move(Move {
        kind,
        from: from.clone(),
        to: best.region.clone(),
        automatic: true,
        needs_approval: strategy.manual_approval_required && kind != Kind::Recover,
        reason,
        loss: best.loss,
    })
}

/// Whom to wait for: an instance whose agent lives, and which has not come to rest yet.
fn still_settling(
    round: &mut Round,
    case: &Case,
    wished: &Database,
    held: &Ownership,
    vacancy: &Vacancy,
) -> Option<String> {
    let is_first = held.system.is_none();
    let patience = if is_first { FIRST_LOOK_WITHIN } else { SETTLE_WITHIN };
    let missing: Vec<&str> = wished
        .instances
        .keys()
        // The first primary may be anywhere, so an agent that has yet to come is waited for too.
        .filter(|region| is_first || case.state.has_live_agent(region))
        // One that crashed is slow to look at, and another is promoted all the same.
        .filter(|region| may_be_asked_last(vacancy) != Some(*region))
        .filter(|region| held.settled(region).is_none())
        .map(RegionName::as_str)
        .collect();
    if missing.is_empty() || round.passed(case.now, held.since, patience) {
        return None;
    }
    Some(format!("waiting for the position of {}", missing.join(", ")))
}

/// Whether those who are still waited for are known to have nothing more.
fn is_enough(
    round: &mut Round,
    case: &Case,
    why: &Explanation,
    wished: &Database,
    held: &Ownership,
    vacancy: &Vacancy,
) -> bool {
    if held.system.is_none() || !round.passed(case.now, held.since, ENOUGH_WITHIN) {
        return false;
    }
    let candidates = ranked(round, case, &mut why.clone(), wished, held, vacancy);
    let furthest = held.furthest();
    furthest.is_some() && candidates.first().is_some_and(|best| best.rank.position >= furthest)
}

/// The last primary, where it ended without order.
fn may_be_asked_last(vacancy: &Vacancy) -> Option<&RegionName> {
    match &vacancy.proof {
        Proof::NeverOwned | Proof::Released { clean: Some(_), .. } => None,
        Proof::Expired { .. } | Proof::Released { clean: None, .. } => vacancy.last.as_ref(),
    }
}

fn last_to_settle(round: &mut Round, case: &Case, held: &Ownership, vacancy: &Vacancy) -> Option<String> {
    let last = may_be_asked_last(vacancy)?;
    let is_missing = case.state.has_live_agent(last) && held.settled(last).is_none();
    if !is_missing || round.passed(case.now, held.since, SETTLE_WITHIN) {
        return None;
    }
    Some(format!("waiting for the position of {last}"))
}

struct Candidate {
    region: RegionName,
    loss: Option<Loss>,
    /// The higher the better.
    rank: Rank,
}

/// In this order: what it has, that nothing need be moved, what the operator prefers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    position: Option<Position>,
    stays: bool,
    priority: u8,
    preference: std::cmp::Reverse<usize>,
}

fn ranked(
    round: &mut Round,
    case: &Case,
    why: &mut Explanation,
    wished: &Database,
    held: &Ownership,
    vacancy: &Vacancy,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (n, region) in case.config.hosts(case.service).enumerate() {
        let name = &region.name;
        let Some(instance) = wished.instances.get(name) else { continue };
        let found = match obstacle(round, case, wished, held, name) {
            Some(obstacle) => Err(obstacle),
            None => standing(case, wished, held, vacancy, name),
        };
        match found {
            Err(obstacle) => why.rejected.push(Rejected { region: name.clone(), why: obstacle }),
            Ok((position, loss)) => {
                let stays = *name == case.placement.primary;
                let preference = std::cmp::Reverse(n);
                let rank = Rank { position, stays, priority: instance.priority, preference };
                candidates.push(Candidate { region: name.clone(), loss, rank });
            }
        }
    }
    candidates.sort_by(|a, b| b.rank.cmp(&a.rank));
    if planted::has(Bug::LeastAdvancedPromoted) {
        candidates.reverse();
    }
    candidates
}

/// Why an instance is no candidate, whatever its position.
fn obstacle(
    round: &mut Round,
    case: &Case,
    wished: &Database,
    held: &Ownership,
    region: &RegionName,
) -> Option<String> {
    let state = case.state;
    if let Some(why) = unusable(state, held, region).or_else(|| just_failed(round, case, region)) {
        return Some(why);
    }
    if *region == case.placement.primary {
        return None;
    }
    if wished.instances.get(region).is_some_and(|instance| instance.nofailover) {
        return Some("it is marked nofailover".into());
    }
    if state.region_verdict(region) == Verdict::Dead {
        return Some("it is held dead".into());
    }
    if let Some(why) = state.drained.get(region) {
        return Some(format!("it is drained: {why}"));
    }
    let known = case.config.region(region)?;
    eligible::misfit(case.config, case.service, known)
        .or_else(|| eligible::held_down(round, case.config, state.regions.get(region), case.now))
}

/// One that could not be promoted is left alone for a while, or grants would follow each other as fast
/// as they fail.
fn just_failed(round: &mut Round, case: &Case, region: &RegionName) -> Option<String> {
    let failed = case.state.plans.values().rev().find(|record| {
        let promotion = |step: &&Step| matches!(&step.action, Action::Promote { region: of } if of == region);
        let step = record.plan.steps.iter().find(promotion);
        let ended = step.and_then(|step| record.steps.get(&step.id));
        record.plan.service == *case.service && ended.is_some_and(|step| step.status == StepStatus::Failed)
    })?;
    let pause = case.config.strategy.hold_down.min(RETRY_AFTER);
    let ended = failed.ended_at.unwrap_or(case.now);
    let rested = round.passed(case.now, ended, pause);
    (!rested).then(|| format!("{} could not promote it less than {} ago", failed.plan.id, Human(pause)))
}

/// Why an instance cannot take writes, wherever the service is.
fn unusable(state: &State, held: &Ownership, region: &RegionName) -> Option<String> {
    if !state.has_live_agent(region) {
        return Some("its agent has no session".into());
    }
    let Some(report) = held.settled(region) else {
        return Some("it did not tell its position in time".into());
    };
    if let Some(problem) = &report.problem {
        return Some(problem.clone());
    }
    if let Some(Branch { timeline, epoch }) = held.stranger(region) {
        return Some(format!(
            "its timeline {timeline} was begun at epoch {epoch}, and another of that number counts: it is copied anew once there is a primary"
        ));
    }
    if report.role == InstanceRole::Broken {
        return Some("its instance cannot be used".into());
    }
    if report.role == InstanceRole::Absent && held.system.is_some() {
        return Some("it has no copy of the data yet".into());
    }
    match (&held.system, &report.system) {
        (Some(ours), Some(its)) if ours != its => {
            Some(format!("its data folder is of another database: system {its}, not {ours}"))
        }
        _ => None,
    }
}

/// Whether the instance that wrote last is there again, so that nothing need be moved.
pub(super) fn can_go_on(state: &State, service: &ServiceName, region: &RegionName) -> bool {
    state.database(service).is_some_and(|(_, held)| {
        let is_last = held.vacancy().is_some_and(|vacancy| vacancy.last.as_ref() == Some(region));
        is_last && unusable(state, held, region).is_none()
    })
}

/// What it has, and what would be lost with it.
fn standing(
    case: &Case,
    wished: &Database,
    held: &Ownership,
    vacancy: &Vacancy,
    region: &RegionName,
) -> Result<(Option<Position>, Option<Loss>), String> {
    let report = held.settled(region).ok_or("it did not tell its position in time")?;
    if let Some(lost) = lost(wished, held, region) {
        return Err(format!(
            "{lost}: bring that back, or `failover failover {} --to {region} --allow-data-loss` goes on without",
            case.service
        ));
    }
    // The first primary: what is there is adopted, and where nothing is, it is made.
    if held.system.is_none() {
        return Ok((report.position, None));
    }
    // The last primary has all that it acknowledged, wherever its position stands.
    if vacancy.last.as_ref() == Some(region) {
        return Ok((held.rests_at(region), None));
    }
    let position = report.position.ok_or("it does not know its position")?;
    if let Some(only) = held.only_in() {
        return Err(format!(
            "{only} acknowledged without the others: bring it back, or `failover failover {} --to {region} --allow-data-loss` goes on without",
            case.service
        ));
    }
    if let Some(missing) = unseen_acknowledgements(case.service, wished, held, vacancy) {
        return Err(missing);
    }
    let is_counted = is_counted(wished, held, vacancy);
    if !is_counted && is_on_old_timeline(held, position) {
        return Err(format!(
            "it is on an old timeline, {}: what was written since is elsewhere; bring that back, or `failover failover {} --to {region} --allow-data-loss` goes on without",
            position.timeline, case.service
        ));
    }
    if let Some(lacks) = lacks_acknowledged(wished, held, position) {
        return Err(lacks);
    }
    let loss = loss(held, vacancy, report, position, case.term);
    // With enough witnesses, whatever was acknowledged is on the most advanced of them.
    if wished.mode.acks() > 0 {
        if let Some(other) = ahead_of(wished, held, position, vacancy.last.as_ref().filter(|_| is_counted)) {
            return Err(format!("rows that were acknowledged may be in {other} alone"));
        }
        if held.is_synchronous(wished) {
            return Ok((Some(position), None));
        }
    }
    let limit = wished.max_data_loss;
    if (loss.bytes > limit.bytes || loss.time > limit.time) && !planted::has(Bug::LossNotBounded) {
        return Err(format!(
            "it may lack {loss}, and max_data_loss allows {} bytes and {}: `failover failover {} --to {region} --allow-data-loss` promotes it all the same",
            limit.bytes,
            Human(limit.time),
            case.service
        ));
    }
    Ok((Some(position), (loss != Loss::default()).then_some(loss)))
}

/// S3: whoever held it last has everything, unless it came back with old data, or never had what it was granted it for.
/// In synchronous modes that is asked of everybody.
pub(crate) fn lost(wished: &Database, held: &Ownership, region: &RegionName) -> Option<String> {
    let is_last = held.vacancy().is_some_and(|vacancy| vacancy.last.as_ref() == Some(region));
    let lacks = held.lacks(region).filter(|_| is_last || wished.mode.acks() > 0);
    let (lacks, rests_at) = lacks.zip(held.rests_at(region))?;
    Some(format!("it has {rests_at}, and must have {lacks}"))
}

/// S3: in synchronous modes nothing of what was acknowledged goes, also not the end of what ended in order.
pub(super) fn lacks_acknowledged(wished: &Database, held: &Ownership, position: Position) -> Option<String> {
    let lacks = |all: &Position| position.lsn < all.lsn || position.timeline < all.timeline;
    let all = held.all_acknowledged().filter(|all| wished.mode.acks() > 0 && lacks(all))?;
    Some(format!("it has {position}, and what was acknowledged reaches until {all}"))
}

/// Whether all that was acknowledged since the grant is in what others than the last holder have, once
/// [`unseen_acknowledgements`] misses nobody: what it has beyond that, or whoever is away, nobody was told of.
pub(super) fn is_counted(wished: &Database, held: &Ownership, vacancy: &Vacancy) -> bool {
    held.is_synchronous(wished) && !vacancy.ended_in_order()
}

pub(super) fn is_on_old_timeline(held: &Ownership, position: Position) -> bool {
    held.furthest().is_some_and(|furthest| furthest.timeline > position.timeline)
}

/// One that came to rest with more than `position`, `beside` apart.
pub(super) fn ahead_of<'a>(
    wished: &'a Database,
    held: &Ownership,
    position: Position,
    beside: Option<&RegionName>,
) -> Option<&'a RegionName> {
    let has_more = |region: &&RegionName| {
        let told = held.settled(region).filter(|_| held.stranger(region).is_none());
        told.and_then(|told| told.position).is_some_and(|its| its > position)
    };
    let mut others = wished.instances.keys().filter(|region| Some(*region) != beside);
    others.find(has_more).filter(|_| !planted::has(Bug::LeastAdvancedPromoted))
}

/// S3, where commits wait for `acks` of the others: each is on one of any `others - acks + 1`.
pub(super) fn unseen_acknowledgements(
    service: &ServiceName,
    wished: &Database,
    held: &Ownership,
    vacancy: &Vacancy,
) -> Option<String> {
    let last = vacancy.last.as_ref()?;
    if vacancy.ended_in_order() || planted::has(Bug::TooFewWitnesses) {
        return None;
    }
    held.witnesses(wished).into_iter().filter(|witnesses| witnesses.acks > 0).find_map(|witnesses| {
        let others = witnesses.regions.iter().filter(|region| *region != last);
        // What a stranger has is compared with nothing, and so proves nothing; nor does one that has lost something.
        let has_told = |region: &&RegionName| {
            let is_witness = held.stranger(region).is_none() && !held.has_lost(region);
            let told = held.settled(region).filter(|_| is_witness);
            told.is_some_and(|told| told.position.is_some())
        };
        let (told, of) = (others.clone().filter(has_told).count(), others.count());
        let needed = of.saturating_sub(usize::from(witnesses.acks)) + 1;
        (told < needed).then(|| {
            format!(
                "rows that {service} acknowledged may be on an instance that is away: {told} of {of} told their position, {needed} are needed"
            )
        })
    })
}

/// At most. What the old primary wrote unheard of after its last word counts as time. `term`: when the leader's began,
/// by its own time; what was noted before, others noted, and their clocks say nothing of a span that ends in its own.
pub(super) fn loss(
    held: &Ownership,
    vacancy: &Vacancy,
    report: &InstanceReport,
    position: Position,
    term: Time,
) -> Loss {
    let known = held.furthest().unwrap_or(position);
    let bytes = known.lsn.ahead_of(position.lsn);
    let has = |known: &Option<Position>| known.is_none_or(|known| known.lsn <= position.lsn);
    // It had all that there was when the lease was granted, and nothing was written after its end.
    let under_it = held.complete.filter(|complete| complete.is_within(position) && complete.until > term);
    let under_it = under_it.map(|complete| vacancy.since.since(complete.until));
    let time = match &vacancy.proof {
        Proof::NeverOwned => Duration::ZERO,
        Proof::Released { clean: Some(clean), .. } if clean.lsn <= position.lsn => Duration::ZERO,
        // It had all that was told with the last renewal.
        Proof::Expired { heard, position: told @ Some(_), told_at } if has(told) => {
            vacancy.since.since(told_at.unwrap_or(*heard))
        }
        // How long it had heard nothing when it came to know that nobody writes, less for how long nobody had by then:
        // the end of a lease may be found out late, and a grant may not have been written under.
        _ if vacancy.since > term => report.silent.saturating_sub(held.since.since(vacancy.since)),
        _ => report.silent.saturating_sub(vacancy.late),
    };
    let time = under_it.map_or(time, |under_it| time.min(under_it));
    // Its end may have been agreed on before a majority was lost, and known after: it went on by promises meanwhile.
    let promised = match &vacancy.proof {
        Proof::NeverOwned | Proof::Released { .. } => Duration::ZERO,
        Proof::Expired { .. } => report.promised,
    };
    Loss { bytes, time: time.max(promised) }
}

/// Why a planned move there would not be lossless or quick.
pub(super) fn unfit_heir(state: &State, service: &ServiceName, region: &RegionName) -> Option<String> {
    let (_, held) = state.database(service)?;
    let Some(report) = held.instances.get(region) else {
        return Some("nothing is known of its database: its agent has told nothing of it yet".into());
    };
    if let Some(problem) = &report.problem {
        return Some(format!("its database: {problem}"));
    }
    if let Some(Branch { timeline, epoch }) = held.stranger(region) {
        return Some(format!(
            "its database holds a timeline {timeline} that epoch {epoch} began, and another of that number counts: `failover reinit`"
        ));
    }
    match report.role {
        InstanceRole::Replica { streaming: true } => None,
        InstanceRole::Replica { streaming: false } => {
            let from = held.holder().map_or("a primary".to_owned(), ToString::to_string);
            Some(format!(
                "its database receives nothing from {from}, so that nothing could be handed over without loss"
            ))
        }
        role => Some(format!("its database is {role}, not a replica that follows")),
    }
}

/// Why whoever writes now cannot hand over in order.
pub(super) fn no_hand_over(state: &State, service: &ServiceName) -> Option<String> {
    let (_, held) = state.database(service)?;
    match &held.owner {
        Owner::Vacant(vacancy) => Some(format!(
            "nobody writes to the database of {service} since epoch {}, so that nothing can be handed over: {}",
            held.epoch, vacancy.why
        )),
        Owner::Held(holder) if !state.has_live_agent(holder) => Some(format!(
            "{holder} writes to the database of {service}, and its agent has no session to end it in order"
        )),
        Owner::Held(_) => None,
    }
}
