//! Which controller an agent tries next, and after how long.

use std::collections::VecDeque;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// All controllers once without a pause; then pauses that grow, until one has acknowledged again.
#[derive(Clone, Debug)]
pub struct Turns {
    controllers: usize,
    queue: VecDeque<usize>,
    rounds: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// Index into those configured.
    pub controller: usize,
    /// To wait before.
    pub pause: Duration,
}

impl Turns {
    pub fn new(controllers: usize) -> Turns {
        Turns { controllers, queue: (0..controllers).collect(), rounds: 0 }
    }

    /// `below`: something in `0..` what it is given, by chance.
    pub fn next(&mut self, below: impl FnOnce(u64) -> u64) -> Turn {
        let mut pause = Duration::ZERO;
        if self.queue.is_empty() {
            self.queue.extend(0..self.controllers);
            let longest = (FIRST_PAUSE * 2_u32.saturating_pow(self.rounds)).min(LONGEST_PAUSE);
            self.rounds = (self.rounds + 1).min(16);
            let half_us = longest.as_micros() as u64 / 2;
            pause = Duration::from_micros(half_us + below(half_us + 1));
        }
        Turn { controller: self.queue.pop_front().unwrap_or(usize::MAX), pause }
    }

    /// A stream to this controller ended. If it had worked, the search begins anew, and the one that
    /// was lost comes last. Only the first of the own region, when nothing worse is known than that
    /// no leader answered, is tried again before all others: an election is soon over, and an agent
    /// that strays is lost with another region.
    pub fn ended(&mut self, controller: usize, was_acknowledged: bool, was_silent: bool) {
        if was_acknowledged {
            self.rounds = 0;
            let keeps_its_place = was_silent && controller == 0;
            self.queue = (0..self.controllers).filter(|n| keeps_its_place || *n != controller).collect();
            if !keeps_its_place {
                self.queue.push_back(controller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_tried_at_once_and_then_with_growing_pauses() {
        let mut turns = Turns::new(3);
        let mut pauses = Vec::new();
        for round in 0..8 {
            for expected in 0..3 {
                let turn = turns.next(|most| most / 2);
                assert_eq!(turn.controller, expected);
                assert_eq!(turn.pause.is_zero(), round == 0 || expected > 0);
                pauses.extend((!turn.pause.is_zero()).then_some(turn.pause.as_millis()));
                turns.ended(turn.controller, false, false);
            }
        }
        assert!((25..=50).contains(&pauses[0]) && (500..=1_000).contains(&pauses[6]), "{pauses:?}");
    }

    #[test]
    fn after_a_session_the_others_come_first_without_a_pause() {
        let mut turns = Turns::new(3);
        for _ in 0..5 {
            turns.next(|most| most / 2);
        }
        turns.ended(1, true, false);
        let order: Vec<_> = (0..3).map(|_| turns.next(|most| most / 2)).collect();
        assert_eq!(order, [0, 2, 1].map(|controller| Turn { controller, pause: Duration::ZERO }));
        assert!(!turns.next(|most| most / 2).pause.is_zero());
    }

    #[test]
    fn when_only_a_leader_is_missing_the_own_region_is_not_left_at_once() {
        let mut turns = Turns::new(3);
        assert_eq!(turns.next(|most| most / 2).controller, 0);
        turns.ended(0, true, true);
        assert_eq!(turns.next(|most| most / 2).controller, 0);
        // It still knows none.
        turns.ended(0, false, true);
        assert_eq!(turns.next(|most| most / 2).controller, 1);
        // Another region's may as well be cut off.
        turns.ended(1, true, true);
        let order: Vec<_> = (0..3).map(|_| turns.next(|most| most / 2).controller).collect();
        assert_eq!(order, [0, 2, 1]);
    }

    #[test]
    fn with_no_controller_there_is_none_to_try() {
        assert_eq!(Turns::new(0).next(|_| 0).controller, usize::MAX);
    }
}
