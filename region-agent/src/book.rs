//! What this vantage found, as it stands, and what of it the controllers have yet to hear. Changes
//! overwrite each other here instead of queueing, so it never grows beyond one entry a check.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use decision::evidence::{Condition, Finding};
use decision::name::CheckId;
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Book {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<CheckId, Entry>,
    /// Ids that may have to be told, changes before what is merely told again.
    urgent: VecDeque<CheckId>,
    again: VecDeque<CheckId>,
}

#[derive(Debug)]
struct Entry {
    condition: Condition,
    since: Instant,
    reason: Box<str>,
    untold: bool,
    /// Whether it is among the urgent already.
    is_urgent: bool,
}

impl Book {
    /// A condition changed.
    pub fn set(&self, check: &CheckId, condition: Condition, since: Instant, reason: &str) {
        let mut inner = self.inner();
        let entry = Entry { condition, since, reason: reason.into(), untold: true, is_urgent: true };
        let before = inner.entries.insert(check.clone(), entry);
        if !before.is_some_and(|before| before.is_urgent) {
            inner.urgent.push_back(check.clone());
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// The vantage lost trust in itself: whatever it found counts no more.
    pub fn distrust(&self, now: Instant, reason: &str) {
        let mut inner = self.inner();
        for entry in inner.entries.values_mut() {
            entry.condition = Condition::Unknown;
            entry.since = now;
            entry.reason = reason.into();
        }
        inner.tell_all_again();
        drop(inner);
        self.changed.notify_one();
    }

    /// All is to be told again: to a controller that may know nothing.
    pub fn refresh(&self) {
        self.inner().tell_all_again();
        self.changed.notify_one();
    }

    /// Forgets the checks that are not among these.
    pub fn retain(&self, checks: &HashSet<&CheckId>) {
        let mut inner = self.inner();
        let Inner { entries, urgent, again } = &mut *inner;
        entries.retain(|id, _| checks.contains(id));
        urgent.retain(|id| entries.contains_key(id));
        again.retain(|id| entries.contains_key(id));
    }

    /// At most so many findings to tell, which count as told from now on.
    pub fn take(&self, at_most: usize, now: Instant) -> Vec<Finding> {
        let mut inner = self.inner();
        let Inner { entries, urgent, again } = &mut *inner;
        let mut findings = Vec::new();
        while findings.len() < at_most {
            let (is_urgent, next) = match urgent.pop_front() {
                Some(check) => (true, Some(check)),
                None => (false, again.pop_front()),
            };
            let Some(check) = next else { break };
            let Some(entry) = entries.get_mut(&check) else { continue };
            entry.is_urgent &= !is_urgent;
            if !std::mem::take(&mut entry.untold) {
                continue;
            }
            findings.push(Finding {
                check,
                condition: entry.condition,
                age: now.saturating_duration_since(entry.since),
                reason: entry.reason.to_string(),
            });
        }
        findings
    }

    /// Whether `take` might give something.
    pub fn has_untold(&self) -> bool {
        let inner = self.inner();
        !inner.urgent.is_empty() || !inner.again.is_empty()
    }

    /// Waits until something is to be told. Cancellation-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many checks are in each condition: healthy, unhealthy, unknown.
    pub fn count(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for entry in self.inner().entries.values() {
            counts[entry.condition as usize] += 1;
        }
        counts
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell_all_again(&mut self) {
        self.again.clear();
        self.again.extend(self.entries.keys().cloned());
        // Hashing must not show: the same run tells the same in the same order.
        self.again.make_contiguous().sort_unstable();
        self.entries.values_mut().for_each(|entry| entry.untold = true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(book: &Book, at_most: usize) -> Vec<(String, Condition)> {
        let findings = book.take(at_most, Instant::now());
        findings.into_iter().map(|finding| (finding.check.0, finding.condition)).collect()
    }

    #[test]
    fn a_change_is_told_once_and_the_last_word_counts() {
        let book = Book::default();
        let now = Instant::now();
        book.set(&"a".into(), Condition::Healthy, now, "");
        book.set(&"a".into(), Condition::Unhealthy, now, "refused");
        assert_eq!(told(&book, 10), [("a".into(), Condition::Unhealthy)]);
        assert_eq!(told(&book, 10), []);
        assert!(!book.has_untold());
    }

    #[test]
    fn ages_are_measured_when_told() {
        let book = Book::default();
        let now = Instant::now();
        book.set(&"a".into(), Condition::Healthy, now, "");
        assert_eq!(book.take(1, now + Duration::from_secs(7))[0].age, Duration::from_secs(7));
    }

    #[test]
    fn a_refresh_tells_all_in_pieces_and_lets_changes_go_first() {
        let book = Book::default();
        let now = Instant::now();
        for check in ["a", "b", "c"] {
            book.set(&check.into(), Condition::Healthy, now, "");
        }
        assert_eq!(told(&book, 9).len(), 3);
        book.refresh();
        assert_eq!(told(&book, 1), [("a".into(), Condition::Healthy)]);
        book.set(&"c".into(), Condition::Unhealthy, now, "refused");
        assert_eq!(told(&book, 9), [("c".into(), Condition::Unhealthy), ("b".into(), Condition::Healthy)]);
    }

    #[test]
    fn distrust_takes_everything_back_and_dropped_checks_are_forgotten() {
        let book = Book::default();
        let now = Instant::now();
        book.set(&"a".into(), Condition::Unhealthy, now, "refused");
        book.set(&"b".into(), Condition::Healthy, now, "");
        book.distrust(now, "cut off");
        assert_eq!(told(&book, 9), [("a".into(), Condition::Unknown), ("b".into(), Condition::Unknown)]);
        book.retain(&HashSet::from([&"b".into()]));
        book.refresh();
        assert_eq!(told(&book, 9), [("b".into(), Condition::Unknown)]);
        assert_eq!(book.count(), [0, 0, 1]);
    }
}
