use super::{Applied, Context, KEPT_REASON, kept};
use crate::command::Refusal;
use crate::database::branch::Branch;
use crate::database::{
    Chosen, Complete, Filled, InstanceReport, InstanceRole, Owner, Ownership, Position, Proof, Vacancy,
    Witnesses, branch, lease,
};
use crate::decide::lost;
use crate::event::Event;
use crate::name::{AgentId, RegionName, ServiceName};
use crate::plan::{Epoch, Plan};
use crate::planted::{self, Bug};
use crate::state::State;
use crate::time::{Human, Time};

/// The agent that runs a region's instance, where several are.
const RUNS_INSTANCES: u16 = 1;

pub(super) fn find<'a>(state: &'a mut State, service: &ServiceName) -> Result<&'a mut Ownership, Refusal> {
    let unknown = || Refusal::Unknown { what: format!("database of {service}") };
    state.databases.get_mut(service).ok_or_else(unknown)
}

/// An agent speaks for its own region's instance only.
fn check_agent(state: &State, agent: &AgentId, service: &ServiceName) -> Result<(), Refusal> {
    let (wished, _) =
        state.database(service).ok_or_else(|| Refusal::Unknown { what: format!("database of {service}") })?;
    if agent.ordinal == RUNS_INSTANCES && wished.instances.contains_key(&agent.region) {
        return Ok(());
    }
    Err(Refusal::NotAllowed { detail: format!("{agent} runs no instance of the database of {service}") })
}

pub(super) fn report(
    state: &mut State,
    context: &Context,
    agent: &AgentId,
    service: &ServiceName,
    report: InstanceReport,
) -> Applied {
    check_agent(state, agent, service)?;
    let held = find(state, service)?;
    let report = InstanceReport {
        system: report.system.map(|system| kept(system, KEPT_REASON)),
        problem: report.problem.map(|problem| kept(problem, KEPT_REASON)),
        ..report
    };
    let before = held.instances.get(&agent.region);
    // A newer one has overtaken it, or it comes by another way once more.
    let is_old = |before: &InstanceReport| report.sequence.is_before(before.sequence) || *before == report;
    if before.is_some_and(is_old) {
        return Ok(false);
    }
    // Status shows the newest words; the journal tells that there is a problem, not each of its words.
    let substance = |report: &InstanceReport| (report.role, report.problem.is_some());
    let is_news = before.map(substance) != Some(substance(&report));
    let is_first = held.system.is_none() && report.role == InstanceRole::Primary { epoch: held.epoch };
    if is_first && held.holder() == Some(&agent.region) {
        held.system.clone_from(&report.system);
    }
    let writes = report.role == InstanceRole::Primary { epoch: held.epoch };
    if writes && held.holder() == Some(&agent.region) {
        let at = held.chosen.remove(&agent.region).and_then(|chosen| chosen.at);
        let begun = Chosen { epoch: held.written, at, has_begun: true };
        // What the others had then is in what it has, or was given up.
        held.chosen = [(agent.region.clone(), begun)].into();
        report.branch.into_iter().for_each(|newest| branch::extend(&mut held.history, newest));
    }
    let (role, problem) = (report.role, report.problem.clone());
    held.instances.insert(agent.region.clone(), report);
    if is_news {
        let (service, region) = (service.clone(), agent.region.clone());
        state.record(context, Event::InstanceChanged { service, region, role, problem });
    }
    undo_grant(state, context, service, &agent.region)?;
    Ok(true)
}

/// S3: whoever was granted the lease last rests with less than it had to have before it could begin. It never wrote
/// then, so that what was known of the vacancy before holds on.
fn undo_grant(state: &mut State, context: &Context, service: &ServiceName, region: &RegionName) -> Applied {
    let held = find(state, service)?;
    let is_last = held.vacancy().is_some_and(|vacancy| vacancy.last.as_ref() == Some(region));
    if !is_last || held.lacks(region).is_none() || !held.never_began(region) {
        return Ok(false);
    }
    let Some(vacancy) = unfill(held, context) else { return Ok(false) };
    let why = kept(format!("{region} never began; before that: {}", vacancy.why), KEPT_REASON);
    let vacancy = Vacancy { why, ..vacancy };
    // When that was found out is what tells how long the others had heard nothing by then: it stays.
    held.owner = Owner::Vacant(vacancy.clone());
    let (service, region, epoch) = (service.clone(), region.clone(), held.epoch);
    state.record(context, Event::GrantUndone { service, epoch, region, vacancy });
    Ok(true)
}

/// Nothing was written since the grant: what counted before it counts again, and who held it then held it last.
fn unfill(held: &mut Ownership, context: &Context) -> Option<Vacancy> {
    let filled = held.filled.take().filter(|filled| filled.vacancy.proof != Proof::NeverOwned)?;
    held.before = Some(match held.before.take() {
        Some(since) => filled.witnesses.or(since),
        None => filled.witnesses,
    });
    (held.alone, held.unsettled) = (filled.alone, Some(context.index));
    (held.history, held.written, held.complete) = (filled.history, filled.written, filled.complete);
    held.at_least = filled.at_least;
    // What it had when it was chosen was there, whatever it has by now.
    for (region, before) in filled.chosen {
        let known = held.chosen.entry(region).or_insert(before);
        if known.at.map(|at| at.lsn) < before.at.map(|at| at.lsn) {
            *known = before;
        }
    }
    Some(filled.vacancy)
}

/// How an instance has ended.
pub(super) struct Ended {
    pub proof: Proof,
    /// It never took a write under this lease.
    pub unwritten: bool,
    pub why: String,
}

/// S4: the holder's own agent says that its instance has ended.
pub(super) fn release(
    state: &mut State,
    context: &Context,
    agent: &AgentId,
    service: &ServiceName,
    epoch: Epoch,
    ended: Ended,
) -> Applied {
    check_agent(state, agent, service)?;
    let held = find(state, service)?;
    let current = held.epoch;
    // An agent that is told nothing for a while says so twice, perhaps after it was overtaken.
    if epoch < current || epoch == current && held.holder().is_none() {
        return Ok(false);
    }
    if epoch > current || held.holder() != Some(&agent.region) {
        return Err(Refusal::NotAllowed {
            detail: format!("{} does not hold the lease of {service} at epoch {epoch}", agent.region),
        });
    }
    if ended.unwritten && !held.has_begun() {
        return vacate_again(state, context, service, ended);
    }
    let now = state.now;
    vacate(state, context, service, ended.proof, now, ended.why)
}

/// S3, S4: what was known of the vacancy before the grant holds on, for nothing was written since.
fn vacate_again(state: &mut State, context: &Context, service: &ServiceName, ended: Ended) -> Applied {
    let held = find(state, service)?;
    let Some(vacancy) = unfill(held, context) else {
        let now = state.now;
        return vacate(state, context, service, ended.proof, now, ended.why);
    };
    let why = kept(format!("{}; before that: {}", ended.why, vacancy.why), KEPT_REASON);
    begin_vacancy(state, context, service, Vacancy { why, ..vacancy })
}

/// S4: the lease has surely expired, by the leader's own time and with all that clocks may drift.
pub(super) fn expire(
    state: &mut State,
    context: &Context,
    service: &ServiceName,
    epoch: Epoch,
    heard: Time,
    position: Option<Position>,
    told_at: Option<Time>,
) -> Applied {
    let now = state.now;
    let ttl = state.database(service).map(|(wished, held)| held.counted_ttl(wished));
    let held = find(state, service)?;
    if epoch != held.epoch {
        return Err(Refusal::StaleEpoch { service: service.clone(), given: epoch, current: held.epoch });
    }
    if held.holder().is_none() {
        return Ok(false);
    }
    let heard = heard.max(held.since);
    let ttl = ttl.unwrap_or_default();
    let expired = lease::expires(heard, ttl);
    if expired > now {
        return Err(Refusal::NotAllowed {
            detail: format!("the lease of {service} at epoch {epoch} may not have expired yet"),
        });
    }
    // What does not write tells no position.
    let holder = held.holder().filter(|_| position.is_some()).cloned();
    if let Some(chosen) = holder.and_then(|holder| held.chosen.get_mut(&holder)) {
        chosen.has_begun = true;
    }
    let why = format!("it was not renewed for {}", Human(now.since(heard)));
    // It may have been over for long: nothing is ended while too little is seen to go on from there.
    vacate(state, context, service, Proof::Expired { heard, position, told_at }, expired, why)
}

/// `since`: from when on surely nobody wrote.
fn vacate(
    state: &mut State,
    context: &Context,
    service: &ServiceName,
    proof: Proof,
    since: Time,
    why: String,
) -> Applied {
    let now = state.now;
    let held = find(state, service)?;
    let why = kept(why, KEPT_REASON);
    let late = now.since(since);
    let vacancy = Vacancy { last: held.holder().cloned(), proof, why, since, late };
    begin_vacancy(state, context, service, vacancy)
}

fn begin_vacancy(state: &mut State, context: &Context, service: &ServiceName, vacancy: Vacancy) -> Applied {
    let now = state.now;
    let held = find(state, service)?;
    (held.owner, held.since) = (Owner::Vacant(vacancy.clone()), now);
    let epoch = held.epoch;
    let service = service.clone();
    state.record(context, Event::LeaseEnded { service, epoch, vacancy });
    Ok(true)
}

/// Only what follows another is thrown away: whoever writes, or wrote last, may be the only one that
/// has everything.
pub(super) fn reinit(
    state: &mut State,
    context: &Context,
    service: &ServiceName,
    region: RegionName,
    number: u64,
) -> Applied {
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    let Some((wished, held)) = state.database(service) else {
        return Err(Refusal::Unknown { what: format!("database of {service}") });
    };
    if !wished.instances.contains_key(&region) {
        return Err(Refusal::Unknown { what: format!("instance of the database of {service} in {region}") });
    }
    if held.reinit.get(&region).is_some_and(|last| *last >= number) {
        return Ok(false);
    }
    match &held.owner {
        Owner::Held(holder) if *holder == region => {
            return not_allowed(format!(
                "{region} writes to the database of {service}: `failover switchover {service}` first"
            ));
        }
        Owner::Vacant(_) => {
            return not_allowed(format!(
                "nobody writes to the database of {service}, so that there is nothing to copy from"
            ));
        }
        Owner::Held(_) => {}
    }
    if let Some(open) = state.open_plan(service).filter(|open| open.plan.to == region) {
        return not_allowed(format!("{} is open and moves {service} to {region}", open.plan.id));
    }
    find(state, service)?.reinit.insert(region.clone(), number);
    let service = service.clone();
    state.record(context, Event::ReinitWished { service, region, number });
    Ok(true)
}

/// S1, S4: nobody is granted what another may still hold.
pub(crate) fn check_grant(state: &State, plan: &Plan, region: &RegionName) -> Result<(), Refusal> {
    let service = &plan.service;
    let not_allowed = |detail: String| Err(Refusal::NotAllowed { detail });
    let Some((wished, held)) = state.database(service) else {
        return Err(Refusal::Unknown { what: format!("database of {service}") });
    };
    if !wished.instances.contains_key(region) {
        return not_allowed(format!("{region} has no instance of the database of {service}"));
    }
    if plan.epoch <= held.epoch {
        let given = plan.epoch;
        return Err(Refusal::StaleEpoch { service: service.clone(), given, current: held.epoch });
    }
    match &held.owner {
        // It keeps what it has, at a higher epoch.
        Owner::Held(holder) if holder == region => Ok(()),
        Owner::Held(_) if planted::has(Bug::FenceNotWaitedFor) => Ok(()),
        Owner::Held(holder) => {
            not_allowed(format!("{holder} may still take writes to {service} at epoch {}", held.epoch))
        }
        Owner::Vacant(vacancy) => {
            let lossless = vacancy.ended_in_order() || planted::has(Bug::HandOverWithoutOrder);
            // S3: what is planned loses nothing.
            if matches!(plan.kind, crate::plan::Kind::Switchover | crate::plan::Kind::Failback) && !lossless {
                return not_allowed(format!("{} ended without order: {}", service, vacancy.why));
            }
            if let (Some(stranger), false) = (held.stranger(region), plan.accepts_loss) {
                let Branch { timeline, epoch } = stranger;
                return not_allowed(format!(
                    "{region} holds a timeline {timeline} that epoch {epoch} began, and another of that number counts"
                ));
            }
            if let (Some(lost), false) = (lost(wished, held, region), plan.accepts_loss) {
                return not_allowed(format!("{region} cannot go on: {lost}"));
            }
            if let Some(only) = held.only_in().filter(|only| *only != region && !plan.accepts_loss) {
                return not_allowed(format!(
                    "{only} acknowledged without the others, and {region} may lack that"
                ));
            }
            let loss = plan.loss.unwrap_or_default();
            let limit = wished.max_data_loss;
            let is_bounded = !planted::has(Bug::LossNotBounded);
            if is_bounded && !plan.accepts_loss && (loss.bytes > limit.bytes || loss.time > limit.time) {
                return not_allowed(format!("{region} lacks {loss}, more than max_data_loss allows"));
            }
            Ok(())
        }
    }
}

pub(super) fn grant(state: &mut State, context: &Context, plan: &Plan, region: &RegionName) {
    let now = state.now;
    let Some((wished, held)) = state.database(&plan.service) else { return };
    let witnesses = held.witnesses(wished).into_iter().reduce(Witnesses::or);
    let (ttl, is_synchronous) = (wished.lease.ttl, wished.mode.acks() > 0);
    let Ok(held) = find(state, &plan.service) else { return };
    // What loses something by intent need not have everything. What an earlier grant demanded still holds: its
    // holder may never have begun.
    let loses = plan.accepts_loss || plan.loss.is_some();
    let all_acknowledged = held.all_acknowledged();
    let before = std::mem::replace(&mut held.at_least, all_acknowledged.filter(|_| !loses));
    let keeps = held.holder() == Some(region);
    held.filled = match held.vacancy().cloned().zip(witnesses) {
        Some((vacancy, witnesses)) => Some(Filled {
            vacancy,
            witnesses,
            alone: held.alone,
            history: held.history.clone(),
            written: held.written,
            complete: held.complete,
            at_least: before,
            chosen: held.chosen.clone(),
        }),
        // It is granted what it holds already.
        _ => held.filled.take().filter(|_| !held.has_begun()),
    };
    // S3: from now on what it has is what counts, and all else comes after this. What somebody has that did not come
    // to rest is not known: what counted before still does.
    let rests_at = held.rests_at(region);
    if !keeps {
        if plan.accepts_loss {
            held.chosen.clear();
        }
        held.chosen.insert(region.clone(), Chosen { epoch: plan.epoch, at: rests_at, has_begun: false });
    }
    let counts = match held.vacancy().map(|vacancy| &vacancy.proof) {
        Some(Proof::Released { clean: Some(clean), .. }) => rests_at.max(Some(*clean)),
        _ => rests_at.filter(|_| rests_at >= held.at_least),
    };
    let complete = |position| Complete { position, until: now };
    held.complete = counts.map(complete).or(held.complete);
    held.longest_ttl = match held.vacancy() {
        Some(_) => ttl,
        None => held.longest_ttl.max(ttl),
    };
    // S3: what was acknowledged by other rules, or alone, the others may lack still. Whoever is granted it says
    // when they do not; nothing of that counts any more where a person gave it up.
    let goes_on = held.holder().or(held.vacancy().and_then(|it| it.last.as_ref())) == Some(region);
    let stays = goes_on || !plan.accepts_loss;
    held.alone = held.alone.filter(|_| stays);
    held.before = held.before.take().filter(|_| held.holder().is_some() || is_synchronous && stays);
    held.unsettled = held.unsettled.filter(|_| held.before.is_some());
    // Who came to rest for this goes on from there. Any other has everything before it begins, and what it told last
    // takes nothing back.
    let is_settled = held.settled(region).is_some();
    let goes_on =
        |told: &Branch| is_settled || held.history.last().is_none_or(|last| told.timeline > last.timeline);
    let newest = held.instances.get(region).and_then(|told| told.branch).filter(goes_on);
    if let Some(newest) = newest {
        branch::extend(&mut held.history, newest);
    }
    // Also of an heir that says already that nobody sends any more. It was drawn before this entry in any case.
    held.ready = held.instances.get(region).and_then(|told| told.ready);
    if !planted::has(Bug::EpochGrantedTwice) {
        held.epoch = plan.epoch;
    }
    // Whoever keeps it may have begun its timeline when it was granted it before.
    if !keeps {
        held.written = held.epoch;
    }
    (held.owner, held.since) = (Owner::Held(region.clone()), now);
    if planted::has(Bug::GrantNotInJournal) {
        return;
    }
    let (service, epoch, region) = (plan.service.clone(), plan.epoch, region.clone());
    state.record(context, Event::LeaseGranted { service, epoch, region });
}
