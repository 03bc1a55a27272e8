//! What is going to happen, in order. Nothing happens between two events, so idle time costs nothing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Add;
use std::time::Duration;

/// True time, which nobody in the simulated world can read: nanoseconds since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// How long ago `earlier` was; nothing when it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(by.as_nanos() as u64))
    }
}

/// Events by their time; of one moment, those first that were put in first.
pub struct Queue<E> {
    now: Moment,
    put: u64,
    events: BinaryHeap<Planned<E>>,
}

struct Planned<E> {
    at: Moment,
    number: u64,
    event: E,
}

impl<E> Ord for Planned<E> {
    /// The greatest comes out of a heap: the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { now: Moment::default(), put: 0, events: BinaryHeap::new() }
    }
}

impl<E> Queue<E> {
    pub fn now(&self) -> Moment {
        self.now
    }

    /// What lies behind happens next.
    pub fn put(&mut self, at: Moment, event: E) {
        let number = self.put;
        self.put += 1;
        self.events.push(Planned { at: at.max(self.now), number, event });
    }

    /// The next event, unless it comes after `until`. Time goes on to it.
    pub fn take(&mut self, until: Moment) -> Option<E> {
        if self.events.peek().is_none_or(|planned| planned.at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let planned = self.events.pop()?;
        self.now = planned.at;
        Some(planned.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_as_they_were_put_in() {
        let mut queue = Queue::default();
        for (at, event) in [(30, "d"), (10, "a"), (20, "b"), (20, "c")] {
            queue.put(Moment(at), event);
        }
        let mut taken = Vec::new();
        while let Some(event) = queue.take(Moment(25)) {
            taken.push((event, queue.now().0));
        }
        assert_eq!(taken, [("a", 10), ("b", 20), ("c", 20)]);
        assert_eq!(queue.now(), Moment(25));
        queue.put(Moment(5), "late");
        assert_eq!(queue.take(Moment(99)), Some("late"));
        assert_eq!(queue.now(), Moment(25), "time does not go back");
    }
}
