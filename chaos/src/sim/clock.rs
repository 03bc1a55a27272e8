//! The clocks of one machine: each runs at its own pace, and the wall clock can be set.

use std::time::Duration;

use decision::time::{Time, Uptime};

use super::queue::Moment;

/// By the wall clock, the moment at which a run begins: 2026-01-01.
const BEGINS_MS: u64 = 1_767_225_600_000;

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    booted: Moment,
    /// Faster than true time by so many millionths; slower if negative.
    pub drift_ppm: i64,
    /// How far the wall clock was set ahead.
    pub ahead_ms: i64,
}

impl Clock {
    pub fn new(drift_ppm: i64) -> Clock {
        Clock { booted: Moment::default(), drift_ppm, ahead_ms: 0 }
    }

    pub fn boots(&mut self, now: Moment) {
        self.booted = now;
    }

    /// On the clock that nobody sets.
    pub fn uptime(&self, now: Moment) -> Uptime {
        Uptime(self.own(now.since(self.booted).as_nanos() as u64))
    }

    pub fn wall(&self, now: Moment) -> Time {
        let own_ms = self.own(now.0) / 1_000_000;
        Time((BEGINS_MS + own_ms).saturating_add_signed(self.ahead_ms))
    }

    /// In true time, when this clock will have gone on by so much.
    pub fn after(&self, now: Moment, own: Duration) -> Moment {
        // A little more than it takes: what waits for a moment of its clock never finds it still ahead.
        let own = own.as_nanos() as i64;
        let pace = 1_000_000 + self.drift_ppm;
        let drifted = (own / pace) * self.drift_ppm + (own % pace) * self.drift_ppm / pace;
        now + Duration::from_nanos((own - drifted + 2) as u64)
    }

    fn own(&self, true_ns: u64) -> u64 {
        let drifted = (true_ns as i64 * self.drift_ppm).div_euclid(1_000_000);
        true_ns.saturating_add_signed(drifted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_moment_of_its_clock_wakes_when_it_has_come() {
        for drift_ppm in [-10_000, -7, 0, 3, 10_000] {
            let mut clock = Clock::new(drift_ppm);
            clock.boots(Moment(12_345));
            for ns in [1, 999, 1_000_000, 7_654_321_987] {
                let now = Moment(1_000_000_007);
                let at = clock.uptime(now) + Duration::from_nanos(ns);
                let woken = clock.after(now, Duration::from_nanos(ns));
                assert!(clock.uptime(woken) >= at, "{drift_ppm} {ns}");
                let late = clock.uptime(woken).since(at);
                assert!(late <= Duration::from_nanos(5), "{drift_ppm} {ns}: {late:?}");
            }
        }
    }

    #[test]
    fn setting_the_wall_clock_moves_no_deadline() {
        let mut clock = Clock::new(500);
        let now = Moment(5_000_000_000);
        let (wall, uptime) = (clock.wall(now), clock.uptime(now));
        clock.ahead_ms = -3_600_000;
        assert_eq!(wall.since(clock.wall(now)), Duration::from_secs(3_600));
        assert_eq!(clock.uptime(now), uptime);
    }
}
