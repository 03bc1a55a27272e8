//! Times that come again each week, in UTC.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;
/// The first of January 1970 was a Thursday.
const EPOCH_DAY: u64 = 3;

/// `mon-fri 08:00-18:00`, `sun 22:00-02:00` (until the next morning), `sat,sun 00:00-24:00`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// On which it begins, Monday first.
    days: [bool; 7],
    /// Minutes of the day.
    from: u64,
    until: u64,
}

impl Window {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Window, String> {
        let wrong = |what: &str| format!("{text:?} is no window: {what}");
        let (written, hours) = text.trim().split_once(' ').ok_or_else(|| wrong("no hours"))?;
        let mut days = [false; 7];
        for part in written.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (day(first), day(last)) else {
                return Err(wrong("the days are mon, tue, wed, thu, fri, sat and sun"));
            };
            let length = (last + 7 - first) % 7;
            (0..=length).for_each(|n| days[(first + n) % 7] = true);
        }
        let (from, until) = hours.trim().split_once('-').ok_or_else(|| wrong("no end"))?;
        let (Some(from), Some(until)) = (minute(from), minute(until)) else {
            return Err(wrong("hours are written 08:00"));
        };
        match from == until || from == 24 * 60 {
            true => Err(wrong("it ends as it begins; a whole day is 00:00-24:00")),
            false => Ok(Window { days, from, until }),
        }
    }

    fn lasts_ms(&self) -> u64 {
        let minutes = if self.until > self.from { self.until } else { self.until + 24 * 60 } - self.from;
        minutes * MINUTE_MS
    }

    /// The first of its times that has something of what begins now and takes so long: from when until when.
    pub fn touches(&self, now: Time, takes: Duration) -> Option<(Time, Time)> {
        let (begin, end) = (now.0, (now + takes).0);
        // A day before it may have begun already; a week on it comes again.
        let today = begin / DAY_MS;
        let mut days = (today.saturating_sub(1)..=end / DAY_MS).take(9);
        days.find_map(|epoch_day| {
            let from = epoch_day * DAY_MS + self.from * MINUTE_MS;
            let until = from + self.lasts_ms();
            let is_one = self.days[((epoch_day + EPOCH_DAY) % 7) as usize];
            (is_one && from <= end && begin < until).then_some((Time(from), Time(until)))
        })
    }
}

fn day(text: &str) -> Option<usize> {
    DAYS.iter().position(|day| *day == text.trim())
}

fn minute(text: &str) -> Option<u64> {
    let (hours, minutes) = text.trim().split_once(':')?;
    // Rust's own parser takes a plus sign too.
    let is_two = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let two = |text: &str| is_two(text).then(|| text.parse::<u64>().ok()).flatten();
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let at = hours * 60 + minutes;
    (minutes < 60 && at <= 24 * 60).then_some(at)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> =
            DAYS.into_iter().zip(self.days).filter_map(|(day, is)| is.then_some(day)).collect();
        let at = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{} {}-{}", days.join(","), at(self.from), at(self.until))
    }
}

impl TryFrom<String> for Window {
    type Error = String;
    fn try_from(text: String) -> Result<Window, String> {
        Window::parse(&text)
    }
}

impl From<Window> for String {
    fn from(window: Window) -> String {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the week of Monday, the 5th of January 1970.
    fn at(day: u64, hour: u64, minute: u64) -> Time {
        Time((4 + day) * DAY_MS + (hour * 60 + minute) * MINUTE_MS)
    }

    fn touches(window: &str, now: Time, minutes: u64) -> bool {
        Window::parse(window).unwrap().touches(now, Duration::from_secs(minutes * 60)).is_some()
    }

    #[test]
    fn a_window_comes_each_week() {
        let office = "mon-fri 08:00-18:00";
        for week in [0, 7, 700] {
            assert!(!touches(office, at(week, 7, 50), 5));
            assert!(touches(office, at(week, 7, 50), 10), "it would reach into it");
            assert!(touches(office, at(week + 4, 17, 59), 1));
            assert!(!touches(office, at(week + 4, 18, 0), 1), "it has just ended");
            assert!(!touches(office, at(week + 5, 12, 0), 1), "a Saturday");
        }
        assert!(touches(office, at(5, 0, 0), 3 * 24 * 60), "two days on");
    }

    #[test]
    fn a_window_goes_on_over_midnight_and_over_the_end_of_a_week() {
        for (day, hour, is_in) in [(6, 21, false), (6, 23, true), (7, 1, true), (7, 2, false), (0, 23, false)]
        {
            assert_eq!(touches("sun 22:00-02:00", at(day, hour, 0), 1), is_in, "{day} {hour}");
        }
        let whole = Window::parse("sat-mon 00:00-24:00").unwrap();
        assert_eq!(whole.to_string(), "mon,sat,sun 00:00-24:00");
        assert_eq!(whole.touches(at(5, 3, 0), Duration::ZERO), Some((at(5, 0, 0), at(6, 0, 0))));
    }

    #[test]
    fn what_is_no_window_is_said_to_be_none() {
        for wrong in [
            "",
            "mon",
            "mon 8:00-9:00",
            "mon 08:00",
            "mo 08:00-09:00",
            "mon 08:00-08:00",
            "mon 24:00-01:00",
            "mon +8:00-09:00",
            "mon 08:60-09:00",
            "mon 08:00-24:01",
        ] {
            assert!(Window::parse(wrong).is_err(), "{wrong}");
        }
        let written = "mon,tue,wed 08:00-18:30";
        assert_eq!(Window::parse(written).unwrap().to_string(), written);
        assert_eq!(serde_json::from_str::<Window>(&format!("{written:?}")).unwrap().to_string(), written);
    }
}
