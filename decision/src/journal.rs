//! The journal: an append-only, hash-chained record of evidence, decisions, refusals and step
//! results (S8). It is part of the replicated state, so every controller holds the same.

mod shared;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::shared::SharedQueue;
use crate::event::Event;
use crate::hash::Hash;
use crate::time::Time;

/// Older entries are dropped; the chain goes on from the hash of the last one dropped.
pub const KEPT_ENTRIES: usize = 10_000;
/// Room for most entries, in bytes.
const BODY_TYPICAL: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Hash of the entry before the first one kept.
    anchor: Hash,
    entries: SharedQueue<Arc<Entry>>,
    next_seq: u64,
    /// See [`Journal::muted`].
    #[serde(skip)]
    is_muted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    pub at: Time,
    /// Who caused it: a controller, an agent, an operator, as its certificate names it.
    pub by: String,
    pub event: Event,
    /// Over the octets of the hash before and this entry's JSON, an array of the fields above.
    pub hash: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal entry {seq} does not follow from the one before: the record was altered or is damaged")]
pub struct BrokenChain {
    pub seq: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { anchor: Hash::default(), entries: SharedQueue::default(), next_seq: 1, is_muted: false }
    }
}

impl Journal {
    /// One that counts on and keeps nothing, for a copy of the state that is thought with and
    /// thrown away: hashing is most of what an entry costs.
    pub(crate) fn muted(&self) -> Self {
        Self { anchor: self.head(), entries: SharedQueue::default(), next_seq: self.next_seq, is_muted: true }
    }

    pub fn append(&mut self, at: Time, by: &str, event: Event) -> u64 {
        let seq = self.next_seq;
        if self.is_muted {
            self.next_seq += 1;
            return seq;
        }
        let hash = hash(self.head(), seq, at, by, &event);
        self.entries.push_back(Arc::new(Entry { seq, at, by: by.to_owned(), event, hash }));
        self.next_seq += 1;
        if self.entries.len() > KEPT_ENTRIES
            && let Some(dropped) = self.entries.pop_front()
        {
            self.anchor = dropped.hash;
        }
        seq
    }

    /// Hash of the newest entry.
    pub fn head(&self) -> Hash {
        self.entries.back().map_or(self.anchor, |entry| entry.hash)
    }

    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Entries after `seq`, oldest first.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let first = self.next_seq - self.entries.len() as u64;
        self.entries.iter_from((seq + 1).saturating_sub(first) as usize)
    }

    pub fn verify(&self) -> Result<(), BrokenChain> {
        let mut before = self.anchor;
        let first = self.next_seq - self.entries.len() as u64;
        for (entry, seq) in self.entries.iter().zip(first..) {
            if entry.seq != seq || entry.hash != Entry::hash_after(before, entry) {
                return Err(BrokenChain { seq });
            }
            before = entry.hash;
        }
        Ok(())
    }
}

impl Entry {
    /// The hash that this entry must have when it follows one of the hash `before`.
    pub(crate) fn hash_after(before: Hash, entry: &Entry) -> Hash {
        hash(before, entry.seq, entry.at, &entry.by, &entry.event)
    }
}

/// Over the JSON of an event, which all members must write alike: a field added to one later
/// must be left out of the JSON where it has its default.
fn hash(before: Hash, seq: u64, at: Time, by: &str, event: &Event) -> Hash {
    let mut body = Vec::with_capacity(BODY_TYPICAL);
    serde_json::to_writer(&mut body, &(seq, at, by, event)).expect("an event has only string keys");
    before.chain(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(journal: &mut Journal, text: &str) -> u64 {
        journal.append(Time(1), "operator/ann", Event::Note { text: text.to_owned() })
    }

    #[test]
    fn an_altered_entry_breaks_the_chain() {
        let mut journal = Journal::default();
        for text in ["a", "b", "c"] {
            note(&mut journal, text);
        }
        assert_eq!(journal.verify(), Ok(()));
        let altered = |(n, mut entry): (usize, Arc<Entry>)| {
            if n == 1 {
                Arc::make_mut(&mut entry).event = Event::Note { text: "x".to_owned() };
            }
            entry
        };
        journal.entries = journal.entries.iter().cloned().enumerate().map(altered).collect();
        assert_eq!(journal.verify(), Err(BrokenChain { seq: 2 }));
    }

    #[test]
    fn a_removed_entry_breaks_the_chain() {
        let mut journal = Journal::default();
        for text in ["a", "b", "c"] {
            note(&mut journal, text);
        }
        journal.entries = journal.entries.iter().filter(|entry| entry.seq != 2).cloned().collect();
        assert!(journal.verify().is_err());
    }

    #[test]
    fn old_entries_are_dropped_and_the_rest_still_verifies() {
        let mut journal = Journal::default();
        for n in 0..KEPT_ENTRIES + 5 {
            note(&mut journal, &n.to_string());
        }
        assert_eq!(journal.entries().len(), KEPT_ENTRIES);
        assert_eq!(journal.verify(), Ok(()));
        assert_eq!(journal.after(0).next().map(|entry| entry.seq), Some(6));
        assert_eq!(journal.after(10).next().map(|entry| entry.seq), Some(11));
        assert_eq!(journal.after(journal.last_seq()).count(), 0);
    }
}
