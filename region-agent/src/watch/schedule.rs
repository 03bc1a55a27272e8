//! When which check is due: one heap for all, instead of a sleeping task for each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;
use wire::host::Random;

/// Starts are spread so that no more than this many come in a second at first.
const FIRST_PROBES_PER_S: u64 = 2_000;
/// The first probes of few checks are spread over this.
const FIRST_SPREAD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Schedule(BinaryHeap<Reverse<(Instant, u32)>>);

impl Schedule {
    pub(super) fn push(&mut self, due: Instant, check: u32) {
        self.0.push(Reverse((due, check)));
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// The next check that is due by now, and when it was.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, u32)> {
        let next = self.0.peek_mut()?;
        if next.0.0 > now {
            return None;
        }
        Some(std::collections::binary_heap::PeekMut::pop(next).0)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Over how long the first probes of so many checks are spread, at most their interval.
pub(super) fn first_spread(checks: usize) -> Duration {
    FIRST_SPREAD.max(Duration::from_millis(checks as u64 * 1_000 / FIRST_PROBES_PER_S))
}

/// Uniform within `0..span`.
pub(super) fn within(span: Duration, random: &dyn Random) -> Duration {
    Duration::from_micros(random.below(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
}

/// The next slot after `due`: an interval later, give or take a twentieth, so that vantages do not
/// fall into step. Slots that were missed are left out, not made up for.
pub(super) fn next_slot(due: Instant, interval: Duration, now: Instant, random: &dyn Random) -> Instant {
    let jittered = interval - interval / 20 + within(interval / 10, random);
    let next = due + jittered;
    if next > now { next } else { now + within(interval, random) }
}

#[cfg(test)]
mod tests {
    use wire::host::SeededRandom;

    use super::*;

    #[test]
    fn ten_thousand_checks_come_in_the_order_they_are_due() {
        let random = SeededRandom::new(1);
        let start = Instant::now();
        let span = Duration::from_secs(10);
        let mut schedule = Schedule::default();
        let mut expected: Vec<(Instant, u32)> = (0..10_000)
            .map(|check| (start + within(span, &random), check))
            .inspect(|(due, check)| schedule.push(*due, *check))
            .collect();
        expected.sort();
        assert_eq!(schedule.next_due(), expected.first().map(|(due, _)| *due));
        let half = start + span / 2;
        let mut popped: Vec<_> = std::iter::from_fn(|| schedule.pop_due(half)).collect();
        assert!(popped.iter().all(|(due, _)| *due <= half) && schedule.next_due() > Some(half));
        popped.extend(std::iter::from_fn(|| schedule.pop_due(start + span)));
        assert_eq!(popped, expected);
    }

    #[test]
    fn slots_keep_the_interval_on_average_and_never_pile_up() {
        let random = SeededRandom::new(2);
        let interval = Duration::from_secs(10);
        let start = Instant::now();
        let mut due = start;
        for _ in 0..1_000 {
            let next = next_slot(due, interval, due, &random);
            let gap = next - due;
            assert!(gap >= Duration::from_millis(9_500) && gap < Duration::from_millis(10_500), "{gap:?}");
            due = next;
        }
        let mean = (due - start) / 1_000;
        assert!(mean > Duration::from_millis(9_950) && mean < Duration::from_millis(10_050), "{mean:?}");
        let long_after = due + interval * 50;
        let next = next_slot(due, interval, long_after, &random);
        assert!(next >= long_after && next < long_after + interval);
    }

    #[test]
    fn few_checks_are_first_probed_within_a_second_and_many_no_faster_than_the_machine() {
        assert_eq!(first_spread(3), Duration::from_secs(1));
        assert_eq!(first_spread(10_000), Duration::from_secs(5));
    }
}
