//! One check and what is remembered of it.

use std::sync::Arc;
use std::time::Duration;

use decision::config::Check;
use decision::evidence::Condition;
use decision::threshold::{Standing, Thresholds};
use tokio::time::Instant;

/// While a target hangs and its timeout is longer than its interval, so many probes of it may be
/// under way.
const MOST_AT_ONCE: u128 = 4;
/// A sick vantage is patient, but not beyond this, unless the check itself says so.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) check: Arc<Check>,
    pub(super) standing: Standing<Instant>,
    pub(super) gate: usize,
    /// Of the last probe begun, and of the newest one whose result was taken.
    begun: u32,
    taken: u32,
    under_way: u8,
    is_waiting: bool,
    /// Probes left at the quick pace at which a first condition is found.
    quick: u8,
}

/// When the next probe follows.
pub(super) enum Pace {
    Every(Duration),
    /// Anywhere within the interval: now that all is known the load is spread.
    Settle(Duration),
}

impl Watched {
    pub(super) fn new(check: Check, gate: usize, now: Instant) -> Watched {
        let quick = quick_probes(&check);
        Watched {
            check: Arc::new(check),
            standing: Standing::unknown(now),
            gate,
            begun: 0,
            taken: 0,
            under_way: 0,
            is_waiting: false,
            quick,
        }
    }

    /// Its probes were given up.
    pub(super) fn interrupted(self, gate: usize) -> Watched {
        Watched { gate, under_way: 0, is_waiting: false, taken: self.begun, ..self }
    }

    /// What it came to counts no more.
    pub(super) fn forget(&mut self, now: Instant) {
        self.standing = Standing::unknown(now);
        self.taken = self.begun;
        self.quick = quick_probes(&self.check);
    }

    pub(super) fn is_known(&self) -> bool {
        self.standing.condition() != Condition::Unknown
    }

    pub(super) fn pace(&mut self, spread: Duration) -> Pace {
        let interval = self.check.interval;
        if self.quick == 0 || spread >= interval {
            return Pace::Every(interval);
        }
        self.quick -= 1;
        if self.is_known() || self.quick == 0 {
            self.quick = 0;
            return Pace::Settle(interval);
        }
        Pace::Every(spread)
    }

    /// Whether another probe may begin beside those under way.
    pub(super) fn wants_in(&self, multiplier: u32) -> bool {
        let at_once = self.timeout(multiplier).as_nanos() / self.check.interval.as_nanos().max(1) + 1;
        !self.is_waiting && u128::from(self.under_way) < at_once.min(MOST_AT_ONCE)
    }

    /// The gate is full; it comes in as others leave.
    pub(super) fn wait(&mut self) {
        self.is_waiting = true;
    }

    pub(super) fn begin(&mut self, multiplier: u32) -> (u32, Duration) {
        self.is_waiting = false;
        self.under_way += 1;
        self.begun = self.begun.wrapping_add(1);
        (self.begun, self.timeout(multiplier))
    }

    /// A probe ended; false when a later one was heard of before, which knows better.
    pub(super) fn ended(&mut self, sequence: u32) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        let is_newer = sequence.wrapping_sub(self.taken) as i32 > 0;
        if is_newer {
            self.taken = sequence;
        }
        is_newer
    }

    pub(super) fn take(&mut self, passed: bool, began: Instant, threshold_multiplier: u32) -> bool {
        self.standing.take(passed, began, Thresholds::of(&self.check, threshold_multiplier))
    }

    fn timeout(&self, multiplier: u32) -> Duration {
        let stretched = self.check.timeout.saturating_mul(multiplier);
        stretched.min(LONGEST_TIMEOUT.max(self.check.timeout))
    }
}

fn quick_probes(check: &Check) -> u8 {
    let longest = check.healthy_threshold.max(check.unhealthy_threshold);
    u8::try_from(longest.saturating_mul(2)).unwrap_or(u8::MAX)
}
