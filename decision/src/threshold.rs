//! From single probes to a condition: a run of equal results as long as its threshold changes it.

use crate::config::Check;
use crate::evidence::Condition;

/// How long a run must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub healthy: u32,
    pub unhealthy: u32,
}

impl Thresholds {
    /// `patience`: by how much a vantage that is not well itself counts failures more slowly.
    pub fn of(check: &Check, patience: u32) -> Thresholds {
        Thresholds {
            healthy: check.healthy_threshold,
            unhealthy: check.unhealthy_threshold.saturating_mul(patience),
        }
    }
}

/// What the probes of one check have come to, on a clock whose moments are `T`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<T> {
    condition: Condition,
    /// When the first probe of the run that led to the condition began.
    since: T,
    run: Option<Run<T>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run<T> {
    passed: bool,
    length: u32,
    began: T,
}

impl<T: Copy> Standing<T> {
    pub fn unknown(now: T) -> Self {
        Standing { condition: Condition::Unknown, since: now, run: None }
    }

    pub fn condition(&self) -> Condition {
        self.condition
    }

    pub fn since(&self) -> T {
        self.since
    }

    /// Takes the result of the probe that began at `began`; true when the condition changed.
    pub fn take(&mut self, passed: bool, began: T, thresholds: Thresholds) -> bool {
        let run = match self.run {
            Some(run) if run.passed == passed => Run { length: run.length.saturating_add(1), ..run },
            _ => Run { passed, length: 1, began },
        };
        self.run = Some(run);
        let (condition, needed) = match passed {
            true => (Condition::Healthy, thresholds.healthy),
            false => (Condition::Unhealthy, thresholds.unhealthy),
        };
        if condition == self.condition || run.length < needed {
            return false;
        }
        self.condition = condition;
        self.since = run.began;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_UP_THREE_DOWN: Thresholds = Thresholds { healthy: 2, unhealthy: 3 };

    /// Feeds results one second apart, `+` passed and `-` failed; gives the conditions after each
    /// change with the second in which they began.
    fn changes(results: &str, thresholds: Thresholds) -> Vec<(Condition, u64)> {
        let mut standing = Standing::unknown(0);
        let mut changes = Vec::new();
        for (second, result) in results.chars().enumerate() {
            let began = second as u64;
            if standing.take(result == '+', began, thresholds) {
                changes.push((standing.condition(), standing.since()));
            }
        }
        changes
    }

    #[test]
    fn a_run_changes_the_condition_and_dates_back_to_its_first_probe() {
        use Condition::{Healthy, Unhealthy};
        assert_eq!(changes("++++---++", TWO_UP_THREE_DOWN), [(Healthy, 0), (Unhealthy, 4), (Healthy, 7)]);
    }

    #[test]
    fn a_broken_run_begins_anew() {
        use Condition::{Healthy, Unhealthy};
        assert_eq!(changes("++--+--+--+", TWO_UP_THREE_DOWN), [(Healthy, 0)]);
        assert_eq!(changes("++--+---", TWO_UP_THREE_DOWN), [(Healthy, 0), (Unhealthy, 5)]);
        assert_eq!(changes("+-+-+-", TWO_UP_THREE_DOWN), []);
    }

    #[test]
    fn from_unknown_both_ways_take_a_whole_run() {
        assert_eq!(changes("--", TWO_UP_THREE_DOWN), []);
        assert_eq!(changes("---", TWO_UP_THREE_DOWN), [(Condition::Unhealthy, 0)]);
        assert_eq!(changes("+", Thresholds { healthy: 1, unhealthy: 1 }), [(Condition::Healthy, 0)]);
    }

    #[test]
    fn a_threshold_lowered_in_the_middle_of_a_run_counts_at_the_next_result() {
        let mut standing = Standing::unknown(0);
        for _ in 0..4 {
            assert!(!standing.take(false, 0, Thresholds { healthy: 2, unhealthy: 6 }));
        }
        assert!(standing.take(false, 0, TWO_UP_THREE_DOWN));
    }
}
