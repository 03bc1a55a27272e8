//! How old what a replica shows to readers is: its log may lie on its disk for long before it is replayed, as while a
//! query holds that up (PostgreSQL, `max_standby_streaming_delay`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::lsn::Lsn;
use crate::time::Uptime;

/// Past it, what is received counts as old as what came before: never as newer than it is.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub struct Replay {
    /// What was received and not replayed when last looked, and since when; oldest first.
    waiting: VecDeque<(Lsn, Uptime)>,
}

impl Replay {
    /// Gives for how long the oldest of what readers do not see yet has been here.
    pub fn lag(&mut self, received: Lsn, replayed: Lsn, now: Uptime) -> Duration {
        while self.waiting.front().is_some_and(|(lsn, _)| *lsn <= replayed) {
            self.waiting.pop_front();
        }
        let is_new = self.waiting.back().map_or(replayed, |(lsn, _)| *lsn) < received;
        let is_full = self.waiting.len() == MOST;
        match self.waiting.back_mut() {
            Some((last, _)) if is_new && is_full => *last = received,
            _ if is_new => self.waiting.push_back((received, now)),
            _ => {}
        }
        self.waiting.front().map_or(Duration::ZERO, |(_, since)| now.since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Uptime {
        Uptime::default() + Duration::from_millis(ms)
    }

    #[test]
    fn what_is_not_replayed_grows_old_though_more_is_received() {
        let mut replay = Replay::default();
        let mut lag = |received, replayed, ms| replay.lag(Lsn(received), Lsn(replayed), at(ms)).as_millis();
        assert_eq!(lag(100, 100, 0), 0);
        assert_eq!(lag(200, 100, 200), 0, "it has just come");
        assert_eq!(lag(300, 100, 1_200), 1_000);
        assert_eq!(lag(400, 199, 2_200), 2_000, "not all of it");
        assert_eq!(lag(400, 200, 3_200), 2_000, "since the second came");
        assert_eq!(lag(400, 400, 3_400), 0);
        assert_eq!(lag(400, 400, 9_000), 0, "nothing was written");
    }

    #[test]
    fn what_cannot_be_remembered_counts_as_older() {
        let mut replay = Replay::default();
        for n in 1..=1_000 {
            assert_eq!(replay.lag(Lsn(n), Lsn(0), at(n)).as_millis() as u64, n - 1);
        }
        assert_eq!(replay.waiting.len(), MOST);
        assert_eq!(replay.lag(Lsn(1_000), Lsn(999), at(1_000)).as_millis(), 936, "as old as the last");
    }
}
