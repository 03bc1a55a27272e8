//! Whether readers saw what had been acknowledged before they asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::clock::ms;
use super::record::{Reading, Way};

/// What the readers of one way, through the relay of one region, saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    pub way: Way,
    pub to: &'static str,
    pub asked: usize,
    pub answered: usize,
    pub by_replica: usize,
    /// Answers that lacked a row which had been acknowledged before, and which was not lost.
    pub lacking: usize,
    /// For how long such a row had been acknowledged, at the longest.
    pub stale_ms: f64,
    /// Of every hundred answers, one was staler.
    pub stale_p99_ms: f64,
    /// The longest time without an answer.
    pub gap_ms: f64,
}

/// A replica that a relay leads to knew itself level less than 5 s before (`docs/CONFIGURATION.md`), and the relay looks
/// twice a second; the rest is for a busy machine.
pub const STALE_AT_MOST_MS: f64 = 6_000.0;

impl Seen {
    /// A primary has all; a relay promises how old at most a replica is for who connects. Whoever stays connected
    /// is promised nothing.
    pub fn is_suspicious(&self) -> bool {
        match self.way {
            Way::Primary => self.lacking > 0,
            Way::Nearest => self.stale_ms > STALE_AT_MOST_MS,
            Way::Kept => false,
        }
    }
}

/// `rows`: what is there in the end.
pub(super) fn seen(readings: &[Reading], began_ns: u64, ended_ns: u64, rows: &BTreeSet<i64>) -> Vec<Seen> {
    let mut groups: BTreeMap<(Way, &'static str), Vec<&Reading>> = BTreeMap::new();
    for reading in readings.iter().filter(|reading| reading.asked_ns >= began_ns) {
        groups.entry((reading.way, reading.to)).or_default().push(reading);
    }
    groups.into_iter().map(|((way, to), group)| of_one(way, to, &group, began_ns, ended_ns, rows)).collect()
}

fn of_one(
    way: Way,
    to: &'static str,
    readings: &[&Reading],
    began_ns: u64,
    ended_ns: u64,
    rows: &BTreeSet<i64>,
) -> Seen {
    let answers: Vec<&&Reading> = readings.iter().filter(|reading| reading.server.is_some()).collect();
    let mut stale: Vec<f64> = answers.iter().map(|answer| stale_ms(answer, rows)).collect();
    stale.sort_by(f64::total_cmp);
    let mut moments = vec![began_ns];
    moments.extend(answers.iter().map(|answer| answer.ended_ns));
    moments.push(ended_ns.max(began_ns));
    moments.sort_unstable();
    let gaps = moments.windows(2).map(|pair| ms(pair[1] - pair[0]));
    Seen {
        way,
        to,
        asked: readings.len(),
        answered: answers.len(),
        by_replica: answers.iter().filter(|answer| answer.is_replica).count(),
        lacking: stale.iter().filter(|stale| **stale > 0.0).count(),
        stale_ms: stale.last().copied().unwrap_or_default(),
        stale_p99_ms: stale.get(stale.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default(),
        gap_ms: gaps.max_by(f64::total_cmp).unwrap_or_default(),
    }
}

/// For how long the oldest row that it lacked, and that is there in the end, had been acknowledged.
pub(super) fn stale_ms(reading: &Reading, rows: &BTreeSet<i64>) -> f64 {
    let missed = reading.missing.iter().filter(|(id, _)| rows.contains(id));
    let since = missed.map(|(_, acked_ns)| ms(reading.asked_ns.saturating_sub(*acked_ns)));
    since.max_by(f64::total_cmp).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn reading(way: Way, asked_ms: u64, missing: &[(i64, u64)]) -> Reading {
        Reading {
            way,
            to: "us",
            asked_ns: asked_ms * MS,
            ended_ns: (asked_ms + 10) * MS,
            server: Some("us".to_owned()),
            is_replica: way != Way::Primary,
            missing: missing.iter().map(|(id, at_ms)| (*id, at_ms * MS)).collect(),
        }
    }

    #[test]
    fn a_reader_is_as_stale_as_the_oldest_row_it_lacks_unless_that_was_lost() {
        let rows = BTreeSet::from([1, 2, 4]);
        let mut unanswered = reading(Way::Nearest, 800, &[]);
        unanswered.server = None;
        let readings = [
            reading(Way::Nearest, 100, &[(1, 90)]),
            reading(Way::Nearest, 500, &[(1, 90), (2, 400), (3, 10)]),
            unanswered,
            reading(Way::Primary, 500, &[(3, 10)]),
        ];
        let seen = seen(&readings, 50 * MS, 900 * MS, &rows);
        let [primary, nearest] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((primary.lacking, primary.stale_ms), (0, 0.0), "what is lost cannot be read");
        assert_eq!((nearest.asked, nearest.answered, nearest.by_replica), (3, 2, 2));
        assert_eq!((nearest.lacking, nearest.stale_ms, nearest.gap_ms), (2, 410.0, 400.0));
    }
}
