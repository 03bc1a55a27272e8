//! What is going to happen, in order. Nothing happens between two events, so idle time costs nothing.

use std::cmp::Reverse;
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
    /// The earliest first. Events are large, and stay where they are while their places in the order change.
    order: BinaryHeap<Reverse<Key>>,
    events: Vec<Option<E>>,
    /// Places without an event.
    free: Vec<usize>,
}

/// When, as which it was put in, and where its event lies: in one number, because most of the work with the order is to
/// compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    fn new(at: Moment, number: u64, place: u32) -> Key {
        Key(u128::from(at.0) << 64 | u128::from(number) << 24 | u128::from(place))
    }

    fn at(self) -> Moment {
        Moment((self.0 >> 64) as u64)
    }

    fn place(self) -> usize {
        self.0 as usize & 0xff_ffff
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue {
            now: Moment::default(),
            put: 0,
            order: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<E> Queue<E> {
    pub fn now(&self) -> Moment {
        self.now
    }

    /// What lies behind happens next.
    pub fn put(&mut self, at: Moment, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.order.push(Reverse(Key::new(at.max(self.now), self.put, place as u32)));
        self.put += 1;
    }

    /// The next event, unless it comes after `until`. Time goes on to it.
    pub fn take(&mut self, until: Moment) -> Option<E> {
        if self.order.peek().is_none_or(|Reverse(key)| key.at() > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(key) = self.order.pop()?;
        self.now = key.at();
        self.free.push(key.place());
        self.events[key.place()].take()
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
