//! How fresh a replica's data surely are. It asks its primary again and again how far the log there reaches: once it has
//! that much, it has all that was acknowledged before it *asked*. So an answer that waited on the way, in the buffers of
//! a machine that stood still or of a network that was cut, makes nothing look fresher than it is; and no clocks of two
//! machines are compared, so that setting one, or its drift, does no harm.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Position;
use crate::time::Uptime;

/// Replies that it has not caught up with. While there are more, the newest are of no use: it must catch up with the
/// older ones first.
const AWAITED: usize = 1_000;

/// What its primary answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// When it was asked, by the replica's own clock.
    pub asked: Uptime,
    /// How far its log reached on its disk.
    pub end: Position,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// When it last surely had all that was acknowledged until then.
    level: Option<Uptime>,
    #[serde(skip)]
    awaited: VecDeque<Reply>,
}

impl Freshness {
    pub fn level(&self) -> Option<Uptime> {
        self.level
    }

    /// It takes writes: nobody has more.
    pub fn writes(&mut self, now: Uptime) {
        self.level = self.level.max(Some(now));
        self.awaited.clear();
    }

    pub fn is_answered(&mut self, reply: Reply) {
        if self.awaited.len() < AWAITED {
            self.awaited.push_back(reply);
        }
    }

    /// How far its own log reaches on its disk.
    pub fn has(&mut self, position: Position) {
        let is_within =
            |answer: &Reply| answer.end.timeline == position.timeline && answer.end.lsn <= position.lsn;
        let newest = self.awaited.iter().filter(|answer| is_within(answer)).map(|answer| answer.asked).max();
        self.level = self.level.max(newest);
        // What is of another timeline counts once it follows that one.
        self.awaited.retain(|answer| !is_within(answer) && Some(answer.asked) > self.level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::testing::secs;

    const START: Uptime = Uptime(1_000_000_000_000);

    fn at(timeline: u32, lsn: u64) -> Position {
        Position { timeline, lsn: Lsn(lsn) }
    }

    /// Asked so many seconds after the start.
    fn answer(second: u64, end: Position) -> Reply {
        Reply { asked: START + secs(second), end }
    }

    fn level(freshness: &Freshness) -> Option<u64> {
        freshness.level().map(|level| level.since(START).as_secs())
    }

    #[test]
    fn it_is_level_as_of_the_question_whose_answer_it_has_caught_up_with() {
        let mut freshness = Freshness::default();
        freshness.has(at(1, 1_000));
        assert_eq!(level(&freshness), None, "it has asked nobody yet");
        for second in 1..=5 {
            freshness.is_answered(answer(second, at(1, second * 100)));
        }
        freshness.has(at(1, 99));
        assert_eq!(level(&freshness), None);
        freshness.has(at(1, 350));
        assert_eq!(level(&freshness), Some(3));
        freshness.has(at(1, 350));
        assert_eq!(level(&freshness), Some(3), "nobody has said since that there is no more");
        freshness.has(at(1, 500));
        assert_eq!(level(&freshness), Some(5));
        // One that comes late tells of the past.
        freshness.is_answered(answer(4, at(1, 500)));
        freshness.has(at(1, 500));
        assert_eq!(level(&freshness), Some(5));
    }

    #[test]
    fn an_answer_of_another_timeline_counts_once_it_follows_that_one() {
        let mut freshness = Freshness::default();
        freshness.is_answered(answer(1, at(2, 100)));
        freshness.has(at(1, 500));
        assert_eq!(level(&freshness), None, "what it has more may be what the other never had");
        freshness.has(at(2, 100));
        assert_eq!(level(&freshness), Some(1));
    }

    #[test]
    fn one_that_is_far_behind_remembers_what_it_needs_next() {
        let mut freshness = Freshness::default();
        for second in 1..=5_000 {
            freshness.is_answered(answer(second, at(1, second * 10)));
            assert!(freshness.awaited.len() <= AWAITED);
        }
        freshness.has(at(1, 5_000));
        assert_eq!(level(&freshness), Some(500));
        freshness.has(at(1, 50_000));
        assert_eq!(level(&freshness), Some(1_000));
        freshness.is_answered(answer(5_001, at(1, 50_000)));
        freshness.has(at(1, 50_000));
        assert_eq!(level(&freshness), Some(5_001));
        freshness.writes(START + secs(6_000));
        assert_eq!((level(&freshness), freshness.awaited.len()), (Some(6_000), 0));
    }
}
