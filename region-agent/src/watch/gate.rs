//! Bounded concurrency, by region: the checks of a region that hangs wait for each other, and
//! never hold up those of the regions that are left.

use std::collections::VecDeque;
use std::time::Duration;

use decision::config::Check;

const FEWEST: usize = 64;
const MOST: usize = 2_048;

#[derive(Debug)]
pub(super) struct Gate {
    free: usize,
    waiting: VecDeque<u32>,
}

impl Gate {
    /// Enough for all of these checks to hang at once and still be probed in time.
    pub(super) fn for_checks<'a>(checks: impl Iterator<Item = &'a Check>) -> Gate {
        let at_once: f64 = checks.map(|check| share(check.timeout, check.interval)).sum();
        Gate { free: ((at_once * 1.25) as usize).clamp(FEWEST, MOST), waiting: VecDeque::new() }
    }

    /// Lets a check in, or has it wait.
    pub(super) fn enter(&mut self, check: u32) -> bool {
        if self.free == 0 {
            self.waiting.push_back(check);
            return false;
        }
        self.free -= 1;
        true
    }

    /// One came out; the next one in, if any waits, who has the place already.
    pub(super) fn leave(&mut self) -> Option<u32> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.free += 1;
        }
        next
    }
}

/// How many probes of one check are under way at once while it hangs.
fn share(timeout: Duration, interval: Duration) -> f64 {
    timeout.as_secs_f64() / interval.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_it_full_waits_in_turn() {
        let mut gate = Gate { free: 2, waiting: VecDeque::new() };
        assert!(gate.enter(1) && gate.enter(2) && !gate.enter(3) && !gate.enter(4));
        assert_eq!([gate.leave(), gate.leave(), gate.leave()], [Some(3), Some(4), None]);
        assert!(gate.enter(5) && !gate.enter(6));
    }
}
