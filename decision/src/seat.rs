//! Where the controllers' leader sits best: away from the primaries. When a region is lost with both,
//! an election comes before its lease can be ended; with the leader elsewhere only the lease is waited for.

use std::time::Duration;

use crate::database::lease;
use crate::decide::LeaseView;
use crate::name::{RegionName, ServiceName};
use crate::state::State;
use crate::time::Time;

/// A voter that could lead, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub member: u64,
    pub region: RegionName,
    /// From the leader to it. A primary beside the leader renews its lease over the same way.
    pub round_trip: Duration,
}

/// Shorter than this a leader stays wherever it is: whatever caused the election is over then.
const LED_AT_LEAST: Duration = Duration::from_secs(10);

/// So long it leads before it moves. A new leader knows of no renewal before it, so that it waits a whole
/// lease before it ends one: moving sooner would begin that anew.
pub fn stays_for(state: &State) -> Duration {
    let spans = state.databases.keys().filter_map(|service| {
        let (wished, held) = state.database(service)?;
        Some(lease::span(held.counted_ttl(wished)) * 2)
    });
    spans.max().unwrap_or_default().max(LED_AT_LEAST)
}

/// Whom a leader in `own` hands over to: a region with fewer primaries, and among those the nearest.
/// None while anything is under way, or may be about to.
pub fn better_seat<'a>(
    state: &State,
    view: &LeaseView,
    now: Time,
    own: &RegionName,
    others: &'a [Seat],
) -> Option<&'a Seat> {
    let is_quiet = |service: &ServiceName| {
        let Some((wished, held)) = state.database(service) else { return true };
        let renewed = view.renewed(service, held.epoch, held.since).heard;
        held.holder().is_some() && now.since(renewed) <= wished.lease.ttl / 4
    };
    let has_plan = |service: &ServiceName| state.open_plan(service).is_some();
    if state.services.keys().any(has_plan) || !state.databases.keys().all(is_quiet) {
        return None;
    }
    let primaries =
        |region: &RegionName| state.databases.values().filter(|held| held.holder() == Some(region)).count();
    let best = others.iter().min_by_key(|seat| (primaries(&seat.region), seat.round_trip, seat.member))?;
    (primaries(&best.region) < primaries(own)).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::config::Mode;
    use crate::decide::switchover;
    use crate::testing::{World, secs, three_regions, with_database};

    fn seat(member: u64, region: &str, round_trip_ms: u64) -> Seat {
        Seat { member, region: region.into(), round_trip: Duration::from_millis(round_trip_ms) }
    }

    #[test]
    fn the_leader_goes_to_the_nearest_region_without_a_primary() {
        let mut config = three_regions();
        with_database(&mut config, "app", Mode::Async);
        let mut world = World::new(config);
        assert_eq!(world.state.databases[&"app".into()].holder(), Some(&"us".into()));
        let others = [seat(2, "ap", 200), seat(3, "eu", 80)];
        assert_eq!(
            better_seat(&world.state, &world.view, world.now, &"us".into(), &others).map(|seat| seat.member),
            Some(3)
        );
        // Where there is none already, it stays; and where there is no choice.
        let others = [seat(1, "us", 1), seat(2, "ap", 200)];
        assert_eq!(better_seat(&world.state, &world.view, world.now, &"eu".into(), &others), None);
        assert_eq!(better_seat(&world.state, &world.view, world.now, &"us".into(), &[]), None);
        // Not while a renewal is wanting, nor in the midst of a move.
        let others = [seat(3, "eu", 80)];
        let later = world.now + secs(2);
        assert_eq!(better_seat(&world.state, &world.view, later, &"us".into(), &others), None);
        assert!(stays_for(&world.state) > secs(4));
        let others = [seat(2, "ap", 200), seat(3, "eu", 80)];
        let (app, ap) = ("app".into(), "ap".into());
        let plan = switchover(&world.state, world.now, &app, Some(&ap), "test".into()).unwrap();
        world.must(Command::OpenPlan { plan, explanation: None });
        assert_eq!(better_seat(&world.state, &world.view, world.now, &"us".into(), &others), None);
    }
}
