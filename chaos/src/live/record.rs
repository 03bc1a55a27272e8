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
    /// In which region it is.
    pub to: &'static str,
    pub at_ns: u64,
    /// To which regions the name leads; none: it did not answer.
    pub leads: Vec<&'static str>,
}

/// Shared by all clients of one run.
pub(super) struct Book {
    next: AtomicI64,
    attempts: Mutex<Vec<Attempt>>,
    lookups: Mutex<Vec<Lookup>>,
}

impl Book {
    pub fn new(first_id: i64) -> Book {
        Book { next: AtomicI64::new(first_id), attempts: Mutex::default(), lookups: Mutex::default() }
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

    pub fn so_far<T>(&self, f: impl FnOnce(&[Attempt]) -> T) -> T {
        f(&self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
