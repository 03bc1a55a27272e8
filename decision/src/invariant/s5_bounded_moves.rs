//! S5: no automatic move without a majority of vantages, and a bounded number in a window.

use std::collections::BTreeMap;

use super::Found;
use crate::evidence::Condition;
use crate::limits;
use crate::name::ServiceName;
use crate::plan::{Kind, Plan};
use crate::state::{Move, State};

pub(super) fn check(before: &State, after: &State, found: &mut Found) {
    for (id, record) in &after.plans {
        if !before.plans.contains_key(id) && record.plan.automatic {
            found.unless(before.paused.is_none(), "S5", || {
                format!("{id} was opened while automation is paused")
            });
            match writerless(before, &record.plan) {
                true => seen_enough(after, &record.plan, found),
                false => accused(after, &record.plan, found),
            }
        }
    }
    bounded(before, after, found);
}

/// A database that nobody may write to is down whatever the vantages say of its region.
fn writerless(state: &State, plan: &Plan) -> bool {
    state.databases.get(&plan.service).is_some_and(|held| held.holder() != Some(&plan.from))
}

fn seen_enough(state: &State, plan: &Plan, found: &mut Found) {
    let Some(config) = &state.config else { return };
    let vantages: usize = config.regions.iter().map(|region| usize::from(region.agents)).sum();
    let live = state.live_agents().len();
    found.unless(live > vantages / 2, "S5", || {
        format!("{} was opened while {live} of {vantages} vantages had a session", plan.id)
    });
}

/// Most of all vantages could speak of the region that is left, and most of those accused it.
fn accused(state: &State, plan: &Plan, found: &mut Found) {
    if !matches!(plan.kind, Kind::Failover | Kind::Withdraw) {
        return;
    }
    let Some(config) = &state.config else { return };
    let vantages: usize = config.regions.iter().map(|region| usize::from(region.agents)).sum();
    let checks: Vec<_> = config.checks.iter().filter(|check| check.region == plan.from).collect();
    let (mut speak, mut accuse) = (0, 0);
    for agent in state.live_agents() {
        let Some(held) = state.evidence.get(&agent) else { continue };
        let said: Vec<_> = checks.iter().filter_map(|check| held.get(&check.id)).collect();
        let has = |wanted| said.iter().any(|evidence| evidence.condition == wanted);
        accuse += usize::from(has(Condition::Unhealthy));
        speak += usize::from(has(Condition::Unhealthy) || has(Condition::Healthy));
    }
    found.unless(speak > vantages / 2 && accuse * 2 > speak, "S5", || {
        format!(
            "{} was opened while {accuse} of {speak} of {vantages} vantages accused {}",
            plan.id, plan.from
        )
    });
}

fn bounded(before: &State, after: &State, found: &mut Found) {
    let (Some(config), true) = (&after.config, after.moves.last() != before.moves.last()) else { return };
    // A limit that was just lowered binds what comes after it.
    if before.config_generation != after.config_generation {
        return;
    }
    let limits = config.strategy.moves;
    for moves_primary in [true, false] {
        let mut of_service: BTreeMap<&ServiceName, u32> = BTreeMap::new();
        let recent = after.moves.iter().filter(|moved| {
            moved.automatic
                && moved.kind.moves_primary() == moves_primary
                && after.now.since(moved.at) < limits.window
        });
        for moved in recent {
            *of_service.entry(&moved.service).or_default() += 1;
        }
        // One that did not move now may have moved often, under limits that were wider then.
        of_service.retain(|service, _| {
            let is_of_it =
                |moved: &Move| moved.service == **service && moved.kind.moves_primary() == moves_primary;
            let last = |state: &State| state.moves.iter().rposition(is_of_it);
            last(after).map(|n| &after.moves[n]) != last(before).map(|n| &before.moves[n])
        });
        for (service, moves) in of_service {
            found.unless(moves <= limits.per_service, "S5", || {
                format!("{service} was moved {moves} times in a window, {} are allowed", limits.per_service)
            });
        }
        let events = limits::events_within(after, limits.window, moves_primary, after.now);
        found.unless(events <= limits.overall as usize, "S5", || {
            format!("regions were left {events} times in a window, {} are allowed", limits.overall)
        });
    }
}
