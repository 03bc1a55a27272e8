//! How long to wait before trying again. The only place that knows the `backoff` crate: replacing
//! it (RUSTSEC-2025-0012) is a change of this file alone.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio::time::Instant;
use wire::host::Random;

/// Growing pauses, each drawn between half and the whole of the interval, so that those who
/// failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    pub first: Duration,
    pub max: Duration,
    pub factor: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { first: Duration::from_millis(50), max: Duration::from_secs(2), factor: 2.0 }
    }
}

/// The pauses of one call.
pub struct Retry<'a> {
    intervals: ExponentialBackoff,
    random: &'a dyn Random,
    until: Instant,
}

impl<'a> Retry<'a> {
    /// `until` is when there is no use in another attempt.
    pub fn new(policy: &Policy, random: &'a dyn Random, until: Instant) -> Self {
        // The crate draws from a generator of its own and asks a clock of its own, neither of
        // which can be handed in: so it computes intervals only, without jitter and without end.
        let intervals = ExponentialBackoff {
            current_interval: policy.first,
            initial_interval: policy.first,
            randomization_factor: 0.0,
            multiplier: policy.factor,
            max_interval: policy.max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Retry { intervals, random, until }
    }

    /// The next pause, or none when it would not end in time.
    fn next(&mut self) -> Option<Duration> {
        let interval = self.intervals.next_backoff()?;
        let half_ns = u64::try_from(interval.as_nanos() / 2).unwrap_or(u64::MAX);
        let pause =
            Duration::from_nanos(half_ns.saturating_add(self.random.below(half_ns.saturating_add(1))));
        (Instant::now() + pause < self.until).then_some(pause)
    }

    /// Waits; false when no time is left for another attempt.
    pub async fn pause(&mut self) -> bool {
        match self.next() {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::host::SeededRandom;

    use super::*;

    fn pauses(seed: u64, within: Duration) -> Vec<Duration> {
        let random = SeededRandom::new(seed);
        let policy =
            Policy { first: Duration::from_millis(100), max: Duration::from_millis(800), factor: 2.0 };
        let mut retry = Retry::new(&policy, &random, Instant::now() + within);
        (0..6).map_while(|_| retry.next()).collect()
    }

    #[test]
    fn pauses_double_up_to_the_bound_with_jitter_in_the_upper_half() {
        let pauses = pauses(1, Duration::from_secs(60));
        for (pause, interval_ms) in pauses.iter().zip([100, 200, 400, 800, 800, 800]) {
            let interval = Duration::from_millis(interval_ms);
            assert!(*pause >= interval / 2 && *pause <= interval, "{pause:?} of {interval:?}");
        }
        assert_eq!(pauses.len(), 6);
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let within = Duration::from_secs(60);
        assert_eq!(pauses(7, within), pauses(7, within));
        assert_ne!(pauses(7, within), pauses(8, within));
    }

    #[test]
    fn no_pause_reaches_past_the_deadline() {
        assert!(pauses(1, Duration::from_millis(30)).is_empty());
    }
}
