//! What must hold before a fault may be caused, and while it lasts. A drill is to show that one failure is survived: it
//! is never the second.

use std::time::Duration;

use super::{Drill, Fault, Wish};
use crate::config::{Config, Region};
use crate::decide::may_take_over;
use crate::limits;
use crate::name::{RegionName, ServiceName};
use crate::plan::Kind;
use crate::state::{Placement, State};
use crate::time::{Human, Time, rfc3339};
use crate::verdict::Verdict;

pub const LONGEST: Duration = Duration::from_secs(900);
/// Of what nobody can end but the time.
const UNSTOPPABLE_LONGEST: Duration = Duration::from_secs(60);
/// A region that is not sound for a moment is not hurt yet.
const HURT_FOR: Duration = Duration::from_secs(5);

/// Every reason not to begin; empty: it may.
pub fn obstacles(state: &State, wish: &Wish, now: Time) -> Vec<String> {
    let Some(config) = state.config.as_deref() else {
        return vec!["no configuration has been set yet; set one with `failover config apply`".into()];
    };
    let (service, region) = (&wish.service, &wish.region);
    let mut obstacles = Vec::new();
    let mut check = |is_so: bool, why: String| {
        if is_so {
            obstacles.push(why);
        }
    };
    check(
        wish.lasts.is_zero() || wish.lasts > LONGEST,
        format!(
            "it may last for {}, and must for more than 0 and at most {}",
            Human(wish.lasts),
            Human(LONGEST)
        ),
    );
    if let Some(running) = state.drills.values().find(|drill| drill.is_running()) {
        check(true, format!("{} is running: one fault at a time", running.id));
    }
    if let Some((from, until)) = config.strategy.no_drills.iter().find_map(|no| no.touches(now, wish.lasts)) {
        let (from, until) = (rfc3339(from), rfc3339(until));
        check(true, format!("no_drills in regions.yml says that there is none from {from} until {until}"));
    }
    if let Some(why) = &state.paused {
        check(true, format!("automation is paused, so that nothing would recover: {why}"));
    }
    check(
        !config.strategy.automatic_failover,
        "automatic_failover is off, so that nothing would recover".into(),
    );
    check(
        config.strategy.manual_approval_required,
        "moves wait for a person's approval, so that what is measured would be the person".into(),
    );
    check(
        wish.fault.is_ended_by_time_alone() && wish.lasts > UNSTOPPABLE_LONGEST,
        format!("nobody can end it before its time: it may last for {} at most", Human(UNSTOPPABLE_LONGEST)),
    );
    check(config.region(region).is_none(), format!("there is no region {region}"));
    let Some(placement) = state.services.get(service) else {
        check(true, format!("there is no service {service}"));
        return obstacles;
    };
    check(
        placement.primary != *region,
        format!(
            "{service} is in {}, so that a fault in {region} would show nothing of it",
            placement.primary
        ),
    );
    check(
        matches!(wish.fault, Fault::DatabaseCrash | Fault::AgentFreeze)
            && !state.databases.contains_key(service),
        format!("{service} has no database"),
    );
    if wish.fault == Fault::ProviderOutage {
        check(
            !state.databases.contains_key(service),
            format!("{service} has no database: it moves with its names alone, so that it would only stay"),
        );
        check(
            !config.is_named_elsewhere(service),
            format!("{service} has no name in DNS servers of others: Regent's own are nobody's but Regent's"),
        );
    }
    if let Some(open) = state.plans.values().find(|record| record.is_open()) {
        check(true, format!("{} is open: what would be measured is not the drill alone", open.plan.id));
    }
    for other in config.regions.iter().map(|region| &region.name) {
        check(!is_sound(state, other), format!("region {other} is {}", state.region_verdict(other)));
        if let Some(why) = state.drained.get(other) {
            check(true, format!("region {other} is drained: {why}"));
        }
    }
    if wish.fault.cuts_off() {
        let (left, all) = without(config, region, |own: &Region| u32::from(own.controllers));
        check(
            left * 2 <= all,
            format!("{left} of {all} controllers would be left, which is no majority: nobody could decide"),
        );
        let (left, all) = without(config, region, |own: &Region| u32::from(own.agents));
        check(
            left * 2 <= all,
            format!("{left} of {all} vantages would be left: nobody could be sure of anything"),
        );
    }
    // Everything that is there may be hit, whatever is measured.
    for (name, placement) in state.services.iter().filter(|(_, placement)| placement.primary == *region) {
        if let Some(why) = cannot_recover(config, state, name, placement, now) {
            check(true, why);
        }
    }
    obstacles
}

/// Why a service that is lost now would not be moved.
fn cannot_recover(
    config: &Config,
    state: &State,
    service: &ServiceName,
    placement: &Placement,
    now: Time,
) -> Option<String> {
    let limits = &config.strategy.moves;
    if let Some(limit) = limits::exhausted(state, limits, Kind::Failover, service, &placement.primary, now) {
        return Some(format!("{service} would not be moved: {limit}"));
    }
    let stays_until = placement.since + config.strategy.min_stay;
    if placement.moved && stays_until > now && !state.databases.contains_key(service) {
        return Some(format!("{service} has just moved, and stays for {}", Human(config.strategy.min_stay)));
    }
    let nobody = may_take_over(config, state, service, &placement.primary, now).is_empty();
    nobody.then(|| format!("no region could take {service} over"))
}

/// What has become worse than the drill meant: it must end, from then on.
pub fn overstepped(state: &State, drill: &Drill) -> Option<(Time, String)> {
    if let Some(why) = &state.paused {
        return Some((state.now, format!("automation was paused: {why}")));
    }
    let config = state.config.as_deref()?;
    let others = config.regions.iter().map(|region| &region.name).filter(|name| **name != drill.wish.region);
    let hurt = others.filter(|region| !is_sound(state, region)).filter_map(|region| {
        let since = state.regions.get(region)?.since;
        Some((since + HURT_FOR, format!("region {region} is {} as well", state.region_verdict(region))))
    });
    hurt.min()
}

fn is_sound(state: &State, region: &RegionName) -> bool {
    matches!(state.region_verdict(region), Verdict::Healthy | Verdict::Degraded)
}

/// How many of them are elsewhere, of how many.
fn without(config: &Config, region: &RegionName, count: impl Fn(&Region) -> u32) -> (u32, u32) {
    let elsewhere = config.regions.iter().filter(|own| own.name != *region);
    (elsewhere.map(&count).sum(), config.regions.iter().map(&count).sum())
}
