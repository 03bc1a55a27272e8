//! What a run begins with, as its seed has it: the configuration, the clocks, and what is going to break.

use std::time::Duration;

use decision::config::{Config, Mode, Profile};
use decision::testing;

use super::chance::Chance;
use super::fault::Planned;
use super::layout::Layout;
use super::queue::Moment;
use super::schedule;

pub const REGIONS: [&str; 3] = ["us", "eu", "ap"];
pub const SERVICE: &str = "app";
pub const MANY_MOVES: u32 = 1_000;
const QUIET_BEFORE: Duration = Duration::from_secs(20);
/// What broke last is mended before a region is lost for good: else whoever would take over may lack too much.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// From when nothing new breaks on, until all must be well.
const RECOVERS_WITHIN: Duration = Duration::from_secs(120);

/// Between these, things break.
pub fn wild(lasts: Duration, is_scripted: bool) -> (Moment, Moment) {
    let settles = if is_scripted { Duration::ZERO } else { SETTLES_WITHIN };
    (Moment(0) + QUIET_BEFORE, Moment(0) + lasts.saturating_sub(RECOVERS_WITHIN + settles))
}

/// How fast the clocks of a run go.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In millionths, ahead or behind.
    most_ppm: u64,
    /// Whether what `docs/FENCING.md` assumes of clocks holds (`lease::MAX_DRIFT_PPM`, between any two). Where it does
    /// not, two instances may take writes at once, and S1 is not demanded. All else is: in synchronous modes what was
    /// acknowledged is where it was asked for, whatever any clock says (S3), and the state counts by one clock (S2, S4
    /// to S9). In mode async the lease alone bounds what is lost; so no clock is off there.
    pub is_as_assumed: bool,
}

impl Pace {
    /// As NTP leaves them, or as far apart as is allowed; and seldom further.
    pub fn draw(chance: &Chance, mode: Mode) -> Pace {
        let most_ppm = *chance.pick(&[500, 4_900]);
        if mode == Mode::Async || !chance.permille(30) {
            return Pace { most_ppm, is_as_assumed: true };
        }
        Pace { most_ppm: *chance.pick(&[20_000, 100_000, 300_000]), is_as_assumed: false }
    }

    pub fn of_one(self, chance: &Chance) -> i64 {
        chance.below(2 * self.most_ppm + 1) as i64 - self.most_ppm as i64
    }
}

pub fn faults(chance: &Chance, layout: Layout, lasts: Duration) -> Vec<Planned> {
    let (begin, calm) = wild(lasts, false);
    let mut planned = schedule::schedule(chance, layout, begin, calm);
    // A random core is well in the end, the rest may be broken for good.
    if chance.permille(500) {
        let region = chance.below(layout.regions as u64) as usize;
        let lost_at = Moment(0) + lasts.saturating_sub(RECOVERS_WITHIN);
        planned.extend(schedule::lost(layout, region, lost_at, Moment(0) + lasts + Duration::from_secs(1)));
    }
    planned
}

pub fn config(profile: Profile, chance: &Chance) -> Config {
    let timings = profile.timings();
    let mut config = testing::config(&REGIONS);
    config.strategy.profile = profile;
    config.strategy.detection_timeout = timings.detection_timeout;
    config.strategy.session_timeout = timings.session_timeout;
    config.strategy.min_stay = timings.min_stay;
    config.strategy.hold_down = timings.hold_down;
    for check in &mut config.checks {
        check.interval = timings.probe_interval;
        check.timeout = timings.probe_timeout;
        check.healthy_threshold = timings.healthy_threshold;
        check.unhealthy_threshold = timings.unhealthy_threshold;
    }
    let mode = *chance.pick(&[Mode::Async, Mode::Sync { acks: 1 }, Mode::SyncStrict { acks: 1 }]);
    testing::with_database(&mut config, SERVICE, mode);
    for service in config.services.values_mut() {
        if let Some(database) = &mut service.database {
            database.lease = profile.lease();
            database.failsafe = chance.permille(300);
            // Less than a lease and two elections is for a person to decide.
            database.max_data_loss.time = Duration::from_secs(*chance.pick(&[12, 30]));
        }
    }
    // Mostly so many that the last ones are not refused.
    if chance.permille(800) {
        (config.strategy.moves.per_service, config.strategy.moves.overall) = (MANY_MOVES, MANY_MOVES);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_seldom_off_and_never_where_the_lease_alone_bounds_what_is_lost() {
        let off = |mode| {
            let draws = (0..5_000).map(|seed| Pace::draw(&Chance::new(seed), mode));
            draws.filter(|pace| !pace.is_as_assumed).count()
        };
        assert_eq!(off(Mode::Async), 0);
        let seldom = 50..300;
        assert!(
            seldom.contains(&off(Mode::Sync { acks: 1 }))
                && seldom.contains(&off(Mode::SyncStrict { acks: 1 }))
        );
    }
}
