//! What every client wrote down of every attempt.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Who made an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// In the client's place.
    Client,
    /// In the primary's region, by its network.
    Inside,
    /// Beside a server, by its private socket; its commits wait for no replica.
    Observer,
}

/// One stretch in which one server took writes: from a start or promotion to its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Era {
    pub server: String,
    /// Eight digits, as in the names of its log.
    pub timeline: String,
    /// The postmaster's start, in microseconds since 1970.
    pub started_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It is a replica.
    ReadOnly,
    /// It starts, ends, or has too many connections.
    NotNow,
    /// The connection was refused or ended.
    Closed,
    /// Nothing was heard in time: nobody knows whether it is written.
    TimedOut,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Acked {
        era: Era,
        /// `regent.epoch` as the server had it then.
        epoch: u64,
        /// On the server, while the statement ran: before it was committed.
        ran_ns: u64,
    },
    Failed(Class, String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    pub id: i64,
    pub who: Who,
    /// Where it was sent.
    pub to: &'static str,
    pub sent_ns: u64,
    pub ended_ns: u64,
    pub outcome: Outcome,
}

impl Attempt {
    pub fn era(&self) -> Option<&Era> {
        match &self.outcome {
            Outcome::Acked { era, .. } => Some(era),
            Outcome::Failed(..) => None,
        }
    }

    pub fn is_acked(&self) -> bool {
        self.era().is_some()
    }
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lookup {
    /// In which region it is, or with the provider.
    pub to: &'static str,
    pub at_ns: u64,
    /// To which regions the name leads; none: it did not answer.
    pub leads: Vec<&'static str>,
}

/// How a reader reaches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A new connection each time, through a relay for those who write.
    Primary,
    /// The same, through one for those who read.
    Nearest,
    /// One connection through that, for as long as it lasts.
    Kept,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Primary, Way::Nearest, Way::Kept];
}

/// What one reader saw of rows that had been acknowledged before it asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    pub way: Way,
    /// Whose relay was asked.
    pub to: &'static str,
    /// Before it connected, where it did.
    pub asked_ns: u64,
    pub ended_ns: u64,
    /// Who answered; none: nobody.
    pub server: Option<String>,
    pub is_replica: bool,
    /// Which it lacked, and when each had been acknowledged.
    pub missing: Vec<(i64, u64)>,
}

/// Shared by all clients of one run.
pub(super) struct Book {
    next: AtomicI64,
    attempts: Mutex<Vec<Attempt>>,
    lookups: Mutex<Vec<Lookup>>,
    readings: Mutex<Vec<Reading>>,
}

/// A reader asks for so many of the newest rows, and for one of each span of time before them.
const NEWEST: usize = 16;
const SPAN_NS: u64 = 500_000_000;
const OLDEST_NS: u64 = 20_000_000_000;

impl Book {
    pub fn new(first_id: i64) -> Book {
        let next = AtomicI64::new(first_id);
        Book { next, attempts: Mutex::default(), lookups: Mutex::default(), readings: Mutex::default() }
    }

    /// Every attempt has an id of its own.
    pub fn id(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn next_id(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    pub fn note(&self, attempt: Attempt) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
    }

    pub fn note_lookup(&self, lookup: Lookup) {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).push(lookup);
    }

    pub fn lookups(&self) -> Vec<Lookup> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn note_reading(&self, reading: Reading) {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
    }

    pub fn readings(&self) -> Vec<Reading> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rows that somebody who waits for replicas was told are written, before now, and when: the newest, and some
    /// that are older.
    pub fn acknowledged(&self, now_ns: u64) -> Vec<(i64, u64)> {
        let mut found: Vec<(i64, u64)> = Vec::new();
        self.so_far(|attempts| {
            let counts = |attempt: &&Attempt| attempt.who != Who::Observer && attempt.is_acked();
            for Attempt { id, ended_ns, .. } in attempts.iter().rev().filter(counts) {
                if ended_ns + OLDEST_NS < now_ns {
                    break;
                }
                if found.len() < NEWEST || found.last().is_some_and(|(_, last)| ended_ns + SPAN_NS <= *last) {
                    found.push((*id, *ended_ns));
                }
            }
        });
        found
    }

    pub fn so_far<T>(&self, f: impl FnOnce(&[Attempt]) -> T) -> T {
        f(&self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_asks_for_the_newest_rows_and_for_some_older_ones() {
        let book = Book::new(1);
        let era = Era { server: "a".into(), timeline: "00000001".into(), started_us: 0 };
        // One a tenth of a second, and each by two.
        for id in 0..600_u64 {
            let ended_ns = id / 2 * 100_000_000;
            let who = if id % 2 == 0 { Who::Client } else { Who::Observer };
            let outcome = Outcome::Acked { era: era.clone(), epoch: 1, ran_ns: ended_ns };
            book.note(Attempt { id: id as i64, who, to: "a", sent_ns: ended_ns, ended_ns, outcome });
        }
        let asked = book.acknowledged(30_000_000_000);
        let newest: Vec<i64> = asked.iter().map(|(id, _)| *id).take(NEWEST).collect();
        assert_eq!(newest, (0..NEWEST as i64).map(|n| 598 - 2 * n).collect::<Vec<i64>>());
        let ages: Vec<u64> = asked.iter().map(|(_, at)| (30_000_000_000 - at) / 100_000_000).collect();
        assert_eq!(ages[NEWEST..], (21..=196).step_by(5).collect::<Vec<u64>>());
    }
}
