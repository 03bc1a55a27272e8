use super::{Round, database};
use crate::config::{Config, Region};
use crate::explain::Rejected;
use crate::name::{RegionName, ServiceName};
use crate::state::{Standing, State};
use crate::time::{Human, Time};
use crate::verdict::Verdict;

/// The regions that may take a service over, best first, and why the others may not.
pub(super) fn candidates<'a>(
    round: &mut Round,
    config: &'a Config,
    state: &State,
    service: &ServiceName,
    from: &RegionName,
    now: Time,
) -> (Vec<&'a Region>, Vec<Rejected>) {
    let mut eligible = Vec::new();
    let mut rejected = Vec::new();
    for region in config.regions.iter().filter(|region| region.name != *from) {
        match obstacle(round, config, state, service, region, now) {
            None => eligible.push(region),
            Some(why) => rejected.push(Rejected { region: region.name.clone(), why }),
        }
    }
    // Healthy before grey; within each the configured order.
    eligible.sort_by_key(|region| state.service_verdict(service, &region.name));
    (eligible, rejected)
}

/// The regions that may, for whoever only asks.
pub(crate) fn may_take_over(
    config: &Config,
    state: &State,
    service: &ServiceName,
    from: &RegionName,
    now: Time,
) -> Vec<RegionName> {
    let (eligible, _) = candidates(&mut Round::default(), config, state, service, from, now);
    eligible.into_iter().map(|region| region.name.clone()).collect()
}

/// Why a region may not take a service over, if it may not.
pub(super) fn obstacle(
    round: &mut Round,
    config: &Config,
    state: &State,
    service: &ServiceName,
    region: &Region,
    now: Time,
) -> Option<String> {
    if let Some(why) = misfit(config, service, region) {
        return Some(why);
    }
    if let Some(why) = state.drained.get(&region.name) {
        return Some(format!("it is drained: {why}"));
    }
    if !state.has_live_agent(&region.name) {
        return Some("its agent has no session".into());
    }
    if state.databases.contains_key(service) && state.region_verdict(&region.name) == Verdict::Dead {
        return Some("it is held dead".into());
    }
    let verdict = state.service_verdict(service, &region.name);
    if !matches!(verdict, Verdict::Healthy | Verdict::Degraded) {
        return Some(format!("{service} is {verdict} there"));
    }
    if let Some(why) = database::unfit_heir(state, service, &region.name) {
        return Some(why);
    }
    let in_it = state.services.get(service).and_then(|placement| placement.standing.get(&region.name));
    held_down(round, config, state.regions.get(&region.name), now)
        .or_else(|| held_down(round, config, in_it, now))
}

/// Why the region is not made for the service.
pub(super) fn misfit(config: &Config, service: &ServiceName, region: &Region) -> Option<String> {
    let wanted = config.services.get(service)?;
    if region.witness {
        return Some("it is a witness: it votes and observes but hosts nothing".into());
    }
    if !region.services.contains(service) {
        return Some(format!("it does not host {service}"));
    }
    if !wanted.jurisdictions.is_empty() {
        let allowed = region.jurisdiction.as_ref().is_some_and(|own| wanted.jurisdictions.contains(own));
        if !allowed {
            return Some(format!(
                "its jurisdiction {} is not among {}",
                region.jurisdiction.as_deref().unwrap_or("(none)"),
                wanted.jurisdictions.join(", ")
            ));
        }
    }
    if region.capacity_percent < wanted.min_capacity_percent {
        return Some(format!(
            "its capacity {} % is less than the {} % the service needs",
            region.capacity_percent, wanted.min_capacity_percent
        ));
    }
    None
}

/// A region, or the service in it, that fell more than once within the window must first stay up for the hold-down.
pub(super) fn held_down(
    round: &mut Round,
    config: &Config,
    standing: Option<&Standing>,
    now: Time,
) -> Option<String> {
    let standing = standing?;
    let window = config.strategy.moves.window;
    let falls = standing.falls.iter().filter(|fall| now.since(**fall) < window).count();
    let hold_down = config.strategy.hold_down;
    if falls < 2 || round.passed(now, standing.since, hold_down) {
        return None;
    }
    Some(format!(
        "it fell {falls} times within {} and is held down until it was up for {}",
        Human(window),
        Human(hold_down)
    ))
}
