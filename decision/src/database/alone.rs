//! Mode `sync`, seen from the primary: when too few replicas have come along for a while, it asks for leave to
//! acknowledge without them; and says when they have everything again. S3 rests on two things: it goes on
//! alone only by a leave that names this very asking, and it forgets the number before it lets its commits wait
//! again. So once it, or any process after it, has said that a leave is over, nobody ever acts by that leave.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::time::Time;

/// So long commits wait, or would, before it asks: longer than a replica takes to turn to a new primary.
pub const ASKS_AFTER: Duration = Duration::from_secs(10);
/// In bytes: what the replicas lack when commits begin to wait for them again, and so how long the first does.
const CLOSE_BYTES: u64 = 16 << 20;

/// The controllers' leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// That of the asking; drawn by chance, never used twice.
    pub number: u64,
    pub since: Time,
}

/// What a primary says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "says")]
pub enum Word {
    Asks {
        number: u64,
    },
    /// Commits wait for the others, and these have all that was acknowledged under the leave of this number.
    Over {
        number: u64,
    },
}

/// What one look finds at a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether its mode lets it ask.
    pub may_ask: bool,
    /// What so many replicas as commits wait for have on their disks; none: fewer are there.
    pub have: Option<Lsn>,
    /// What itself has on its disk.
    pub end: Lsn,
    /// The leave that the state knows of, whoever was given it.
    pub leave: Option<u64>,
}

/// What its commits should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// As they do.
    AsTheyAre,
    /// Wait for the others, surely, all from now on. [`Alone::waits`] is told when that is so.
    Wait,
}

/// What one process remembers of one server as long as it runs; forgotten with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alone {
    /// Where it was when enough replicas had all that it had had at an earlier look.
    level: Option<(Lsn, Time)>,
    /// The number by which it asks, or acts.
    number: Option<u64>,
    goes: bool,
    /// Commits surely wait, for the others to have this too.
    waits_from: Option<Lsn>,
    lacks: bool,
}

impl Alone {
    /// Whether commits are acknowledged without the others.
    pub fn goes(&self) -> bool {
        self.goes
    }

    /// Whether too few have come along, for long enough to tell.
    pub fn lacks(&self) -> bool {
        self.lacks
    }

    /// Commits wait for the others; all that were acknowledged before end at `from` or earlier.
    pub fn waits(&mut self, from: Lsn) {
        self.waits_from = Some(from);
    }

    /// `number`: never seen before, for the case that it asks.
    pub fn look(&mut self, seen: &Seen, number: u64, now: Time) -> Commits {
        let (mark, at) = *self.level.get_or_insert((seen.end, now));
        let is_level = seen.have.is_some_and(|have| have >= mark);
        if self.goes {
            let is_close = seen.have.is_some_and(|have| seen.end.ahead_of(have) <= CLOSE_BYTES);
            if self.number == seen.leave && seen.may_ask && !(is_level && is_close) {
                return Commits::AsTheyAre;
            }
            *self = Alone { level: Some((seen.end, now)), ..Alone::default() };
            return Commits::Wait;
        }
        if is_level {
            self.level = Some((seen.end, now));
        }
        self.lacks = !is_level && now.since(at) >= ASKS_AFTER;
        match (self.lacks && seen.may_ask, seen.leave) {
            (true, leave) => {
                let number = *self.number.get_or_insert(number);
                if leave == Some(number) {
                    (self.goes, self.waits_from) = (true, None);
                }
                Commits::AsTheyAre
            }
            (false, leave) => {
                self.number = None;
                match leave.is_some() && self.waits_from.is_none() {
                    true => Commits::Wait,
                    false => Commits::AsTheyAre,
                }
            }
        }
    }

    /// To be told.
    pub fn word(&self, seen: &Seen) -> Option<Word> {
        if let Some(number) = self.number {
            return Some(Word::Asks { number });
        }
        let has_all = self.waits_from.is_some_and(|from| seen.have.is_some_and(|have| have >= from));
        seen.leave.filter(|_| has_all).map(|number| Word::Over { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: u64 = ASKS_AFTER.as_millis() as u64;

    fn seen(have: Option<u64>, end: u64, leave: Option<u64>) -> Seen {
        Seen { may_ask: true, have: have.map(Lsn), end: Lsn(end), leave }
    }

    /// After its replicas were gone for long, and it got leave by number 7.
    fn gone() -> Alone {
        let mut alone = Alone::default();
        assert_eq!(alone.look(&seen(Some(90), 100, None), 1, Time(0)), Commits::AsTheyAre);
        alone.look(&seen(Some(100), 110, None), 2, Time(5));
        alone.look(&seen(None, 120, None), 3, Time(5 + LATER - 1));
        assert_eq!((alone.lacks(), alone.word(&seen(None, 120, None))), (false, None));
        alone.look(&seen(Some(109), 120, None), 7, Time(5 + LATER));
        assert!(alone.lacks() && !alone.goes());
        assert_eq!(alone.word(&seen(None, 120, None)), Some(Word::Asks { number: 7 }));
        alone.look(&seen(None, 120, Some(8)), 9, Time(5 + LATER));
        assert!(!alone.goes(), "that is not its own");
        alone.look(&seen(None, 120, Some(7)), 9, Time(6 + LATER));
        assert!(alone.goes());
        alone
    }

    #[test]
    fn it_asks_when_too_few_came_along_and_goes_by_its_own_leave_only() {
        let mut alone = gone();
        assert_eq!(alone.look(&seen(None, 900, Some(7)), 9, Time(99_000)), Commits::AsTheyAre);
        assert_eq!(alone.word(&seen(None, 900, Some(7))), Some(Word::Asks { number: 7 }));
    }

    #[test]
    fn whoever_is_level_is_never_said_to_lack_anything() {
        let mut alone = Alone::default();
        for n in 0..100 {
            alone.look(&seen(Some(n * 10), n * 10 + 9, None), n, Time(n * 9_000));
            assert_eq!(alone, Alone { level: alone.level, ..Alone::default() }, "at {n}");
        }
    }

    #[test]
    fn a_leave_ends_when_the_others_have_all_from_before_commits_waited() {
        let mut alone = gone();
        // One that is only connected, as it seems, has not come along.
        let stale = seen(Some(109), 140, Some(7));
        assert_eq!(alone.look(&stale, 9, Time(20_000)), Commits::AsTheyAre);
        let back = seen(Some(130), 140, Some(7));
        assert_eq!(alone.look(&back, 9, Time(21_000)), Commits::Wait);
        assert!(!alone.goes());
        assert_eq!(alone.word(&back), None, "nobody knows yet whether they wait");
        alone.waits(Lsn(150));
        assert_eq!(alone.word(&seen(Some(149), 160, Some(7))), None);
        assert_eq!(alone.word(&seen(Some(150), 160, Some(7))), Some(Word::Over { number: 7 }));
        // The leave that is over is of no use any more.
        alone.look(&seen(None, 160, Some(7)), 11, Time(22_000 + LATER));
        alone.look(&seen(None, 160, Some(7)), 12, Time(23_000 + LATER));
        assert!(!alone.goes());
        assert_eq!(alone.word(&seen(None, 160, Some(7))), Some(Word::Asks { number: 11 }));
    }

    #[test]
    fn far_behind_is_not_back() {
        let mut alone = gone();
        let far = seen(Some(200), 201 + CLOSE_BYTES, Some(7));
        assert_eq!(alone.look(&far, 9, Time(20_000)), Commits::AsTheyAre);
        assert!(alone.goes());
    }

    #[test]
    fn a_process_that_finds_a_leave_of_another_does_not_go_by_it() {
        let mut alone = Alone::default();
        assert_eq!(alone.look(&seen(None, 100, Some(7)), 9, Time(0)), Commits::Wait);
        alone.waits(Lsn(100));
        alone.look(&seen(None, 100, Some(7)), 9, Time(LATER));
        assert!(!alone.goes());
        assert_eq!(alone.word(&seen(None, 100, Some(7))), Some(Word::Asks { number: 9 }));
        alone.look(&seen(None, 100, Some(9)), 10, Time(LATER));
        assert!(alone.goes());
    }

    #[test]
    fn strictly_nobody_asks_and_whoever_goes_returns() {
        let strictly = |seen: Seen| Seen { may_ask: false, ..seen };
        let mut alone = gone();
        assert_eq!(alone.look(&strictly(seen(None, 150, Some(7))), 9, Time(30_000)), Commits::Wait);
        alone.waits(Lsn(150));
        alone.look(&strictly(seen(None, 150, Some(7))), 9, Time(90_000));
        assert!(alone.lacks() && !alone.goes());
        assert_eq!(alone.word(&strictly(seen(None, 150, Some(7)))), None);
    }
}
