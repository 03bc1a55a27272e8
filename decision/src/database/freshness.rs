//! How fresh a replica's data surely are. What it is told may have waited on the way: in the buffers of a machine that
//! stood still, or of a network that was cut. So it counts from when a message was sent, and not from when it came.
//!
//! Two clocks are never compared: of the way from one machine to another only the change counts. A message is as much
//! late as it took longer than the quickest of the last minutes. Setting a clock makes all later ones look late until
//! that is forgotten, or quick, and then the way is measured anew: errors towards "not fresh", which promote nobody.
//! What waits for longer than those minutes all the time is not found out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::look::LastMessage;
use crate::time::Uptime;

/// The quickest way is of the last five to ten minutes.
const REMEMBERED: Duration = Duration::from_secs(300);
/// What a machine that stood still finds waiting is read in less; only then is the quickest message a quick one.
const MEASURED_FOR: Duration = Duration::from_secs(1);
/// No way becomes quicker by so much.
const CLOCK_SET_US: i64 = 1_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// When it last surely had all that was written: what its primary had told, or itself wrote.
    level: Option<Uptime>,
    way: Option<Way>,
    /// The last message, and when it was seen first.
    last: Option<(LastMessage, Uptime)>,
}

/// From one primary to this replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    from: String,
    since: Uptime,
    /// What the quickest message took by the two clocks, in microseconds: before `turned`, and since.
    before: Option<i64>,
    least: i64,
    turned: Uptime,
}

impl Freshness {
    pub fn level(&self) -> Option<Uptime> {
        self.level
    }

    /// It takes writes: nobody has more.
    pub fn writes(&mut self, now: Uptime) {
        self.level = self.level.max(Some(now));
    }

    /// Takes in what its primary told last. `is_level`: it has all of that. `now`: before it was asked.
    pub fn hears(&mut self, message: &LastMessage, is_level: bool, now: Uptime) {
        // Its own clock may have been set since: as old as it has been seen, it is at least.
        let seen = match &self.last {
            Some((last, seen)) if last.is_same(message) => *seen,
            _ => now,
        };
        self.last = Some((message.clone(), seen));
        let took = message.received_us.saturating_sub(message.sent_us);
        let anew = || Way { from: message.from.clone(), since: now, before: None, least: took, turned: now };
        let way = match self.way.take().filter(|way| way.from == message.from) {
            None => anew(),
            Some(way) => match way.quickest().saturating_sub(took) {
                ..CLOCK_SET_US => way.took(took, now),
                // Its clock was set, or ours, or all of ours stood still: then nothing was so lately.
                quicker => {
                    let by = Duration::from_micros(quicker.unsigned_abs());
                    self.level = self.level.map(|level| level - by);
                    anew()
                }
            },
        };
        let late = Duration::from_micros(took.abs_diff(way.quickest()));
        if is_level && seen.since(way.since) >= MEASURED_FOR {
            let age = message.age.max(now.since(seen));
            self.level = self.level.max(Some(now - age - late));
        }
        self.way = Some(way);
    }
}

impl Way {
    fn took(self, took: i64, now: Uptime) -> Way {
        if now.since(self.turned) < REMEMBERED {
            return Way { least: self.least.min(took), ..self };
        }
        Way { before: Some(self.least), least: took, turned: now, ..self }
    }

    fn quickest(&self) -> i64 {
        self.before.map_or(self.least, |before| before.min(self.least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, secs};

    const START: Uptime = Uptime(1_000_000_000_000);

    /// Sent and received so many milliseconds after the start, each by its own clock, and seen at once.
    fn message(sent_ms: i64, received_ms: i64) -> LastMessage {
        LastMessage {
            from: "us".into(),
            sent_us: sent_ms * 1_000,
            received_us: received_ms * 1_000,
            age: Duration::ZERO,
        }
    }

    /// One a second for so long, each 20 ms on its way; the sender's clock is an hour ahead.
    fn heard_for(seconds: u64) -> Freshness {
        let mut freshness = Freshness::default();
        for second in 0..=seconds {
            let sent = (second * 1_000) as i64;
            freshness.hears(&message(sent + 3_600_000, sent + 20), true, START + secs(second));
        }
        freshness
    }

    #[test]
    fn it_is_level_once_a_way_is_known_whatever_the_clocks_show() {
        assert_eq!(heard_for(0).level(), None, "the first may have waited for long");
        assert_eq!(heard_for(1).level(), Some(START + secs(1)));
        let mut behind = heard_for(9);
        behind.hears(&message(3_610_000, 10_020), false, START + secs(10));
        assert_eq!(behind.level(), Some(START + secs(9)), "and lacks something of what it was told");
    }

    #[test]
    fn what_waited_on_the_way_is_as_old_as_when_it_was_sent() {
        let mut freshness = heard_for(20);
        // The machine stood still for 36 s, and reads what was sent to it meanwhile.
        freshness.hears(&message(3_621_000, 57_000), true, START + secs(57));
        assert_eq!(freshness.level(), Some(START + secs(57) - ms(57_000 - 21_000 - 20)));
        freshness.hears(&message(3_657_000, 57_020), true, START + secs(57));
        assert_eq!(freshness.level(), Some(START + secs(57)));
    }

    #[test]
    fn one_message_is_as_old_as_it_has_been_seen() {
        let mut freshness = heard_for(5);
        let last = message(3_605_000, 5_020);
        // Its clock is set back again and again.
        freshness.hears(&last, true, START + secs(60));
        assert_eq!(freshness.level(), Some(START + secs(5)));
        let mut aged = heard_for(5);
        aged.hears(&LastMessage { age: secs(2), ..message(3_610_000, 10_020) }, true, START + secs(12));
        assert_eq!(aged.level(), Some(START + secs(10)));
    }

    #[test]
    fn one_message_that_waited_does_not_become_fresh_by_being_seen_twice() {
        let mut freshness = Freshness::default();
        let waited = message(3_600_000, 30_020);
        freshness.hears(&waited, true, START + secs(31));
        freshness.hears(&waited, true, START + secs(40));
        assert_eq!(freshness.level(), None);
    }

    #[test]
    fn a_machine_whose_clocks_stood_still_learns_it_from_the_others() {
        let mut freshness = heard_for(20);
        freshness.hears(&message(3_621_000, 21_000), true, START + secs(21));
        assert_eq!(freshness.level(), Some(START + secs(21)), "as far as anybody can know");
        // 36 s passed everywhere else.
        freshness.hears(&message(3_657_000, 21_001), true, START + secs(21) + ms(1));
        assert_eq!(freshness.level(), Some(START - ms(14_999)));
        freshness.hears(&message(3_658_010, 22_011), true, START + secs(22) + ms(11));
        assert_eq!(freshness.level(), Some(START + secs(22) + ms(11)));
    }

    #[test]
    fn of_another_primary_the_way_is_measured_anew() {
        let mut freshness = heard_for(5);
        let other = |sent_ms, received_ms| LastMessage { from: "ap".into(), ..message(sent_ms, received_ms) };
        freshness.hears(&other(6_000, 6_900), true, START + secs(6));
        assert_eq!(freshness.level(), Some(START + secs(5)));
        freshness.hears(&other(7_000, 7_100), true, START + secs(7));
        assert_eq!(freshness.level(), Some(START + secs(7)));
    }

    #[test]
    fn a_clock_that_was_set_is_forgotten_after_some_minutes() {
        let mut freshness = heard_for(10);
        let set = |at: u64| message((at * 1_000) as i64 + 3_600_000, (at * 1_000) as i64 + 30_020);
        let mut fresh_again = None;
        for at in 11..1_000 {
            freshness.hears(&set(at), true, START + secs(at));
            let age = (START + secs(at)).since(freshness.level().unwrap());
            assert!(age <= secs(30), "no more than what the clock was set by");
            if age.is_zero() {
                fresh_again = fresh_again.or(Some(at));
            }
        }
        assert!((300..=600).contains(&fresh_again.unwrap()), "{fresh_again:?}");
    }
}
