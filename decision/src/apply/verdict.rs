use std::collections::BTreeSet;

use super::{Applied, Context};
use crate::command::Refusal;
use crate::config::{Check, Config};
use crate::event::Event;
use crate::evidence::Condition;
use crate::explain::{Explanation, Opinion};
use crate::incident::{self, Impact, IncidentStatus, Subject};
use crate::name::{AgentId, RegionName, ServiceName};
use crate::planted::{self, Bug};
use crate::state::{Standing, State};
use crate::time::Time;
use crate::verdict::{Assessment, Verdict};

/// Falls remembered of one region.
const KEPT_FALLS: usize = 16;

pub(super) fn set(
    state: &mut State,
    context: &Context,
    region: RegionName,
    service: Option<ServiceName>,
    assessment: Assessment,
) -> Applied {
    let config = state.config.clone().ok_or(Refusal::NotConfigured)?;
    if config.region(&region).is_none() {
        return Err(Refusal::Unknown { what: format!("region {region}") });
    }
    // Where something is held of it already it is hosted: a new configuration drops the others.
    let is_held =
        |name| state.services.get(name).is_some_and(|placement| placement.standing.contains_key(&region));
    if let Some(name) = &service
        && !is_held(name)
        && !(state.services.contains_key(name) && config.hosts(name).any(|host| host.name == region))
    {
        return Err(Refusal::Unknown { what: format!("service {name} in {region}") });
    }
    if assessment.verdict == Verdict::Dead {
        has_majority(state, &config, &region, service.is_none(), &assessment)?;
    }
    let held = match &service {
        None => Some(state.regions.entry(region.clone()).or_default()),
        Some(name) => state
            .services
            .get_mut(name)
            .map(|placement| placement.standing.entry(region.clone()).or_default()),
    };
    let Some(standing) = held else { return Ok(false) };
    let before = standing.verdict;
    if before == assessment.verdict {
        return Ok(false);
    }
    let first = standing.is_unseen();
    note(standing, &assessment, state.now);
    let primary =
        service.as_ref().and_then(|name| state.services.get(name)).map(|placement| &placement.primary);
    let matters = primary.is_none_or(|primary| *primary == region);
    if let (Some(name), Verdict::Healthy, true) = (&service, assessment.verdict, matters) {
        state.held.remove(name);
    }
    // A first healthy look is no news.
    if first && assessment.verdict == Verdict::Healthy {
        return Ok(true);
    }
    let event =
        Event::VerdictChanged { region: region.clone(), service: service.clone(), from: before, assessment };
    let body = event.to_string();
    let Event::VerdictChanged { assessment, .. } = &event else { return Ok(true) };
    let verdict = assessment.verdict;
    let seq = state.record(context, event);
    let subject = service.map_or(Subject::Region(region), Subject::Service);
    if matters {
        tell(state, seq, subject, verdict, body);
    }
    Ok(true)
}

/// S5: nothing is called dead without a majority of all vantages, each with a live session, and
/// no accusation counts that the evidence held here does not bear out.
fn has_majority(
    state: &State,
    config: &Config,
    region: &RegionName,
    whole_region: bool,
    assessment: &Assessment,
) -> Result<(), Refusal> {
    if whole_region && state.has_live_agent(region) {
        return Err(Refusal::NotAllowed { detail: format!("{region} is not dead: its agent has a session") });
    }
    let vantages: usize = config.regions.iter().map(|region| usize::from(region.agents)).sum();
    let live = |opinion: &&Opinion| {
        opinion.counted && state.sessions.get(&opinion.vantage).is_some_and(|session| session.live)
    };
    let speakers: BTreeSet<_> = assessment
        .opinions
        .iter()
        .filter(live)
        .filter(|opinion| opinion.condition != Condition::Unknown)
        .map(|opinion| &opinion.vantage)
        .collect();
    let accusers: BTreeSet<_> = assessment
        .opinions
        .iter()
        .filter(live)
        .filter(|opinion| opinion.condition == Condition::Unhealthy)
        .map(|opinion| &opinion.vantage)
        .filter(|vantage| found_unhealthy(state, config, vantage, region))
        .collect();
    let (accusers, speakers) = (accusers.len(), speakers.len());
    if planted::has(Bug::OneVantageBelieved) {
        return Ok(());
    }
    if speakers < vantages / 2 + 1 || accusers * 2 <= speakers {
        return Err(Refusal::NotAllowed {
            detail: format!(
                "{accusers} of {speakers} vantages that can speak call {region} unhealthy; of {vantages} a majority must speak and most of those agree"
            ),
        });
    }
    Ok(())
}

/// S5 once more when something is moved by itself: between the leader's look and this entry the
/// evidence may have changed. Weaker than the verdict, so that no leader's rules are refused here.
pub(super) fn is_accused(state: &State, config: &Config, service: &ServiceName, region: &RegionName) -> bool {
    if planted::has(Bug::OneVantageBelieved) {
        return true;
    }
    let vantages: usize = config.regions.iter().map(|region| usize::from(region.agents)).sum();
    let majority_of = |checks: &mut dyn Iterator<Item = &Check>| {
        let checks: Vec<_> = checks.collect();
        let (mut speakers, mut accusers) = (0, 0);
        for found in state.live_agents().iter().filter_map(|agent| state.evidence.get(agent)) {
            let mut said =
                checks.iter().filter_map(|check| found.get(&check.id)).map(|evidence| evidence.condition);
            let mut speaks = false;
            let accuses = said.any(|condition| {
                speaks |= condition != Condition::Unknown;
                condition == Condition::Unhealthy
            });
            speakers += usize::from(speaks);
            accusers += usize::from(accuses);
        }
        speakers > vantages / 2 && accusers * 2 > speakers
    };
    let of_region = || config.checks.iter().filter(|check| check.region == *region);
    // Its own checks and the endpoints mostly settle it, and they are few.
    majority_of(
        &mut of_region().filter(|check| check.service.as_ref().is_none_or(|of_check| of_check == service)),
    ) || majority_of(&mut of_region())
}

fn found_unhealthy(state: &State, config: &Config, vantage: &AgentId, region: &RegionName) -> bool {
    let Some(found) = state.evidence.get(vantage) else { return false };
    let of_region = config.checks.iter().filter(|check| check.region == *region);
    of_region
        .filter_map(|check| found.get(&check.id))
        .any(|evidence| evidence.condition == Condition::Unhealthy)
}

fn note(standing: &mut Standing, assessment: &Assessment, now: Time) {
    let fell = |verdict| matches!(verdict, Verdict::Dead | Verdict::Partitioned);
    if fell(assessment.verdict) && !fell(standing.verdict) {
        standing.falls.push(now);
        if standing.falls.len() > KEPT_FALLS {
            standing.falls.remove(0);
        }
    }
    standing.verdict = assessment.verdict;
    standing.since = now;
    standing.because.clone_from(&assessment.because);
}

/// The status page hears of it.
fn tell(state: &mut State, seq: u64, subject: Subject, verdict: Verdict, body: String) {
    let (impact, status) = match verdict {
        Verdict::Healthy => {
            incident::update(&mut state.incidents, seq, state.now, &subject, IncidentStatus::Resolved, body);
            return;
        }
        // Not seeing is no outage of a region, but a service that nobody watches is worth an alert.
        Verdict::Unknown if matches!(subject, Subject::Region(_)) => {
            incident::update(
                &mut state.incidents,
                seq,
                state.now,
                &subject,
                IncidentStatus::Investigating,
                body,
            );
            return;
        }
        Verdict::Unknown => (Impact::Minor, IncidentStatus::Investigating),
        Verdict::Degraded => (Impact::Minor, IncidentStatus::Investigating),
        Verdict::Partitioned => (Impact::Major, IncidentStatus::Investigating),
        Verdict::Dead => (Impact::Critical, IncidentStatus::Identified),
    };
    incident::tell(&mut state.incidents, seq, state.now, subject, impact, status, body);
}

pub(super) fn hold(state: &mut State, context: &Context, explanation: Explanation) -> Applied {
    let service = explanation.service.clone();
    if !state.services.contains_key(&service) {
        return Err(Refusal::Unknown { what: format!("service {service}") });
    }
    if state.held.get(&service) == Some(&explanation.conclusion) {
        return Ok(false);
    }
    state.held.insert(service.clone(), explanation.conclusion.clone());
    let body = format!("not moved: {}", explanation.conclusion);
    let seq = state.record(context, Event::Held { explanation });
    let subject = Subject::Service(service);
    incident::update(&mut state.incidents, seq, state.now, &subject, IncidentStatus::Identified, body);
    Ok(true)
}
