//! Mode `sync`, seen from the primary: when too few replicas have come along for a while, it asks for leave to
//! acknowledge without them; and says when they have everything again. S3 rests on two things: it goes on
//! alone only by a leave that names this very asking, and it forgets the number before it lets its commits wait
//! again. So once it, or any process after it, has said that a leave is over, nobody ever acts by that leave.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lsn::Lsn;
use crate::planted::{self, Bug};
use crate::time::Time;

/// So long commits wait, or would, before it asks: longer than a replica takes to turn to a new primary.
pub const ASKS_AFTER: Duration = Duration::from_secs(10);
/// In bytes: what the replicas lack at most when commits begin to wait for them again.
const CLOSE_BYTES: u64 = 16 << 20;
/// And in time: what was written before that, they have.
const KEEPS_UP_WITHIN: Duration = Duration::from_secs(2);
/// For so long they must have kept up; twice as long each time that they fail soon after.
const DWELL: Duration = Duration::from_secs(3);
const DWELL_MOST: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(600);

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
    /// Commits wait for the others, and these have all that was acknowledged under the leave of this number, or
    /// before the change of it.
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
    /// The change of whom commits wait for that is to be settled.
    pub change: Option<u64>,
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
    /// Since when enough have kept up, while it goes; how long they must; when that was last so.
    back: Option<Time>,
    dwell: Duration,
    returned: Option<Time>,
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
        let is_close = seen.have.is_some_and(|have| seen.end.ahead_of(have) <= CLOSE_BYTES);
        let (mark, at) = *self.level.get_or_insert_with(|| {
            // Whoever has just begun, and finds a leave, need not wait to see what is so already.
            let lacks_still = seen.leave.is_some() && !is_close;
            let ago_ms = if lacks_still { ASKS_AFTER.as_millis() as u64 } else { 0 };
            (seen.end, Time(now.0.saturating_sub(ago_ms)))
        });
        let is_level = seen.have.is_some_and(|have| have >= mark);
        if is_level {
            self.level = Some((seen.end, now));
        }
        if self.goes {
            return self.look_alone(seen, is_close && now.since(at) <= KEEPS_UP_WITHIN, now);
        }
        self.lacks = !is_level && now.since(at) >= ASKS_AFTER;
        if self.lacks && seen.may_ask {
            let number = *self.number.get_or_insert(number);
            if seen.leave == Some(number) || planted::has(Bug::AloneUnasked) {
                let is_soon = self.returned.is_some_and(|returned| now.since(returned) < SOON);
                self.dwell = if is_soon { (self.dwell * 2).min(DWELL_MOST) } else { DWELL };
                (self.goes, self.waits_from, self.back) = (true, None, None);
            }
            return Commits::AsTheyAre;
        }
        self.number = None;
        match seen.leave.or(seen.change).is_some() && self.waits_from.is_none() {
            true => Commits::Wait,
            false => Commits::AsTheyAre,
        }
    }

    fn look_alone(&mut self, seen: &Seen, keeps_up: bool, now: Time) -> Commits {
        self.back = if keeps_up { self.back.or(Some(now)) } else { None };
        let is_back = self.back.is_some_and(|back| now.since(back) >= self.dwell);
        let has_leave = self.number == seen.leave || planted::has(Bug::AloneUnasked);
        if has_leave && seen.may_ask && !is_back {
            return Commits::AsTheyAre;
        }
        let (level, returned) = (Some((seen.end, now)), Some(now));
        *self = Alone { level, returned, dwell: self.dwell, ..Alone::default() };
        Commits::Wait
    }

    /// To be told.
    pub fn word(&self, seen: &Seen) -> Option<Word> {
        if let Some(number) = self.number.filter(|_| !planted::has(Bug::AloneUnasked)) {
            return Some(Word::Asks { number });
        }
        let has_all = self.waits_from.is_some_and(|from| seen.have.is_some_and(|have| have >= from));
        seen.leave.or(seen.change).filter(|_| has_all).map(|number| Word::Over { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: u64 = ASKS_AFTER.as_millis() as u64;

    fn seen(have: Option<u64>, end: u64, leave: Option<u64>) -> Seen {
        Seen { may_ask: true, have: have.map(Lsn), end: Lsn(end), leave, change: None }
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

    /// From `at` on, a look each second.
    fn looks(alone: &mut Alone, seen: &Seen, at: u64, seconds: u64) -> Option<u64> {
        (0..=seconds).map(|n| at + n * 1_000).find(|at| alone.look(seen, 9, Time(*at)) == Commits::Wait)
    }

    #[test]
    fn a_leave_ends_when_the_others_have_all_from_before_commits_waited() {
        let mut alone = gone();
        // One that is only connected, as it seems, does not come along.
        assert_eq!(looks(&mut alone, &seen(Some(109), 140, Some(7)), 20_000, 100), None);
        let back = seen(Some(140), 140, Some(7));
        assert_eq!(looks(&mut alone, &back, 200_000, 100), Some(204_000));
        assert!(!alone.goes());
        assert_eq!(alone.word(&back), None, "nobody knows yet whether they wait");
        assert_eq!(alone.look(&back, 9, Time(204_200)), Commits::Wait, "until it is told");
        alone.waits(Lsn(150));
        assert_eq!(alone.look(&back, 9, Time(204_400)), Commits::AsTheyAre);
        assert_eq!(alone.word(&seen(Some(149), 160, Some(7))), None);
        assert_eq!(alone.word(&seen(Some(150), 160, Some(7))), Some(Word::Over { number: 7 }));
        // The leave that is over is of no use any more.
        assert_eq!(looks(&mut alone, &seen(None, 160, Some(7)), 205_000, 20), None);
        assert!(!alone.goes());
        assert_eq!(alone.word(&seen(None, 160, Some(7))), Some(Word::Asks { number: 9 }));
        // And they must keep up for longer now.
        alone.look(&seen(None, 160, Some(9)), 10, Time(226_000));
        assert!(alone.goes());
        assert_eq!(looks(&mut alone, &seen(Some(160), 160, Some(9)), 300_000, 100), Some(307_000));
    }

    #[test]
    fn far_behind_or_ever_later_is_not_back() {
        let mut alone = gone();
        let far = seen(Some(200), 201 + CLOSE_BYTES, Some(7));
        assert_eq!(looks(&mut alone, &far, 20_000, 100), None);
        let mut alone = gone();
        for n in 0..100 {
            // Each time it has what there was three seconds ago.
            let late = seen(Some(100 + n * 10), 130 + n * 10, Some(7));
            assert_eq!(alone.look(&late, 9, Time(20_000 + n * 1_000)), Commits::AsTheyAre, "at {n}");
        }
    }

    #[test]
    fn a_process_that_finds_a_leave_of_another_does_not_go_by_it() {
        let mut alone = Alone::default();
        alone.look(&seen(None, 100, Some(7)), 9, Time(LATER));
        assert!(!alone.goes());
        assert_eq!(alone.word(&seen(None, 100, Some(7))), Some(Word::Asks { number: 9 }), "at once");
        alone.look(&seen(None, 100, Some(9)), 10, Time(LATER));
        assert!(alone.goes());
        let mut alone = Alone::default();
        assert_eq!(alone.look(&seen(Some(90), 100, Some(7)), 9, Time(LATER)), Commits::Wait);
        alone.waits(Lsn(100));
        assert_eq!(alone.word(&seen(Some(100), 100, Some(7))), Some(Word::Over { number: 7 }));
    }

    #[test]
    fn a_change_of_whom_commits_wait_for_is_settled_in_the_same_way() {
        let changed = |seen: Seen| Seen { change: Some(5), ..seen };
        let mut alone = Alone::default();
        let early = changed(seen(None, 100, None));
        assert_eq!(alone.look(&early, 9, Time(LATER)), Commits::Wait);
        alone.waits(Lsn(100));
        assert_eq!(alone.look(&early, 9, Time(LATER)), Commits::AsTheyAre);
        assert_eq!(alone.word(&early), None);
        assert_eq!(alone.word(&changed(seen(Some(100), 100, None))), Some(Word::Over { number: 5 }));
        assert_eq!(
            alone.word(&changed(seen(Some(100), 100, Some(7)))),
            Some(Word::Over { number: 7 }),
            "first"
        );
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
