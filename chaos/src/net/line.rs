//! The frames of one ordered pair: decides the fate of each as it comes, and holds it until it is due.
//! Knows no socket and no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::host::{Random, SeededRandom};

use super::link::{Count, InFlight, Link};
use super::tcp::{self, Garbled};

/// What one pair holds at most. At 100 ms it lets 320 MB/s pass.
pub(super) const MOST_BYTES: usize = 32 << 20;
const LEAST_HOLD: Duration = Duration::from_millis(1);

pub(super) struct Line {
    link: Link,
    random: SeededRandom,
    /// Ordered by `due`.
    held: VecDeque<Held>,
    held_bytes: usize,
    most_bytes: usize,
    /// When the last frame that keeps its place is due.
    newest: Option<Instant>,
    garbled: Garbled,
    count: Count,
}

struct Held {
    due: Instant,
    frame: Vec<u8>,
}

impl Line {
    pub(super) fn new(seed: u64, most_bytes: usize) -> Line {
        Line {
            link: Link::default(),
            random: SeededRandom::new(seed),
            held: VecDeque::new(),
            held_bytes: 0,
            most_bytes,
            newest: None,
            garbled: Garbled::default(),
            count: Count::default(),
        }
    }

    /// Holds from the next frame on; those under way keep their time, unless this is a cut.
    pub(super) fn set(&mut self, link: Link) {
        if link.cut && !self.link.cut && link.in_flight == InFlight::Dropped {
            self.count.cut += self.held.len() as u64;
            self.held.clear();
            self.held_bytes = 0;
            self.newest = None;
        }
        self.link = link;
    }

    pub(super) fn offer(&mut self, frame: &[u8], now: Instant) {
        self.count.offered.add(frame);
        // Always the same draws, so that one setting does not shift the luck of another.
        let lost = self.happens(self.link.loss);
        let duplicate = self.happens(self.link.duplicate);
        let reorder = self.happens(self.link.reorder);
        let reset = self.happens(self.link.reset);
        let garbage = self.happens(self.link.garbage);
        let jitter = self.random.below(nanoseconds(self.link.jitter).saturating_add(1));
        if self.link.cut {
            self.count.cut += 1;
            return;
        }
        if lost {
            self.count.lost += 1;
            return;
        }
        let spoiled = self.spoil(frame, reset, garbage);
        self.count.spoiled += u64::from(spoiled.is_some());
        let frame = spoiled.as_deref().unwrap_or(frame);
        let mut due = now + self.link.delay + Duration::from_nanos(jitter);
        if reorder {
            due += self.link.jitter.max(LEAST_HOLD);
            self.count.reordered += 1;
        } else {
            due = self.newest.map_or(due, |newest| newest.max(due));
            self.newest = Some(due);
        }
        if duplicate {
            self.count.duplicated += 1;
            self.hold(frame, due);
        }
        self.hold(frame, due);
    }

    /// None: it goes as it came.
    fn spoil(&mut self, frame: &[u8], reset: bool, garbage: bool) -> Option<Vec<u8>> {
        if garbage {
            self.garbled.accept(frame);
        }
        let random = &self.random;
        let garbled = self.garbled.answer(frame, || random.next_u64() as u8);
        garbled.or_else(|| reset.then(|| tcp::reset(frame)).flatten())
    }

    fn hold(&mut self, frame: &[u8], due: Instant) {
        if self.held_bytes + frame.len() > self.most_bytes {
            self.count.overflowed += 1;
            return;
        }
        self.held_bytes += frame.len();
        let place = match self.held.back() {
            Some(last) if last.due > due => self.held.partition_point(|held| held.due <= due),
            _ => self.held.len(),
        };
        self.held.insert(place, Held { due, frame: frame.to_vec() });
    }

    /// The next frame whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Vec<u8>> {
        let held = self.held.pop_front_if(|held| held.due <= now)?;
        self.held_bytes -= held.frame.len();
        Some(held.frame)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.held.front().map(|held| held.due)
    }

    pub(super) fn delivered(&mut self, frame: &[u8]) {
        self.count.delivered.add(frame);
    }

    pub(super) fn refused(&mut self) {
        self.count.refused += 1;
    }

    pub(super) fn count(&self) -> Count {
        Count { in_flight: self.held.len() as u64, ..self.count }
    }

    fn happens(&self, share: f64) -> bool {
        // The 53 bits that a double holds.
        ((self.random.next_u64() >> 11) as f64) < share * (1u64 << 53) as f64
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn line(link: Link) -> Line {
        let mut line = Line::new(1, MOST_BYTES);
        line.set(link);
        line
    }

    /// Offers numbered frames `apart` from each other; gives what arrives, and how long after the first.
    fn pass(line: &mut Line, frames: u32, apart: Duration) -> Vec<(u32, Duration)> {
        let start = Instant::now();
        for number in 0..frames {
            line.offer(&number.to_be_bytes(), start + apart * number);
        }
        let mut arrived = Vec::new();
        while let Some(due) = line.next_due() {
            let frame = line.take_due(due).expect("it is due");
            line.delivered(&frame);
            arrived.push((u32::from_be_bytes(frame.try_into().unwrap()), due - start));
        }
        arrived
    }

    fn balanced(count: Count) -> bool {
        let gone = count.lost + count.cut + count.overflowed + count.refused;
        count.offered.frames + count.duplicated == count.delivered.frames + gone + count.in_flight
    }

    #[test]
    fn a_frame_is_held_for_the_delay_and_not_a_moment_less() {
        let mut line = line(Link::delayed(20 * MS));
        let now = Instant::now();
        line.offer(b"frame", now);
        assert_eq!(line.take_due(now + 20 * MS - Duration::from_nanos(1)), None);
        assert_eq!(line.take_due(now + 20 * MS), Some(b"frame".to_vec()));
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_keeps_the_order() {
        let link = Link { delay: 5 * MS, jitter: 10 * MS, ..Link::default() };
        let thin = pass(&mut line(link), 1000, 20 * MS);
        let took: Vec<Duration> = thin.iter().map(|(number, at)| *at - 20 * MS * *number).collect();
        assert!(took.iter().all(|took| (5 * MS..=15 * MS).contains(took)));
        assert!(took.iter().min() < Some(&(6 * MS)) && took.iter().max() > Some(&(14 * MS)));
        let dense = pass(&mut line(link), 1000, MS / 10);
        assert!(dense.is_sorted(), "by number, and by time");
        assert!(dense.iter().all(|(number, at)| *at - MS / 10 * *number <= 15 * MS));
    }

    #[test]
    fn reorder_lets_later_frames_overtake_and_loses_none() {
        let mut line = line(Link { delay: 5 * MS, reorder: 0.1, ..Link::default() });
        let arrived = pass(&mut line, 1000, MS / 10);
        assert!(!arrived.is_sorted_by_key(|(number, _)| *number));
        assert!(arrived.is_sorted_by_key(|(_, at)| *at));
        assert_eq!(arrived.len(), 1000);
        assert!((60..140).contains(&line.count().reordered));
    }

    #[test]
    fn loss_and_duplicates_are_as_frequent_as_asked_and_the_same_for_a_seed() {
        let link = Link { loss: 0.01, duplicate: 0.05, ..Link::default() };
        let (mut one, mut other) = (line(link), line(link));
        let arrived = pass(&mut one, 100_000, MS);
        assert_eq!(arrived, pass(&mut other, 100_000, MS));
        let count = one.count();
        assert!((850..1150).contains(&count.lost), "{count:?}");
        assert!((4500..5500).contains(&count.duplicated), "{count:?}");
        assert!(balanced(count), "{count:?}");
        // The luck of loss is the same without duplicates.
        let mut plain = line(Link { loss: 0.01, ..Link::default() });
        pass(&mut plain, 100_000, MS);
        assert_eq!(plain.count().lost, count.lost);
    }

    #[test]
    fn a_cut_drops_what_is_under_way_unless_told_otherwise() {
        let now = Instant::now();
        for (in_flight, arrives) in [(InFlight::Dropped, false), (InFlight::Delivered, true)] {
            let mut line = line(Link::delayed(20 * MS));
            line.offer(b"before", now);
            line.set(Link { cut: true, in_flight, ..Link::delayed(20 * MS) });
            line.offer(b"during", now + MS);
            let got = line.take_due(now + 100 * MS);
            assert_eq!(got.as_deref(), arrives.then_some(&b"before"[..]));
            assert_eq!(line.take_due(now + 100 * MS), None);
            assert_eq!(line.count().cut, if arrives { 1 } else { 2 });
        }
    }

    #[test]
    fn a_shorter_delay_does_not_let_new_frames_overtake_old_ones() {
        let mut line = line(Link::delayed(100 * MS));
        let now = Instant::now();
        line.offer(b"old", now);
        line.set(Link::delayed(MS));
        line.offer(b"new", now);
        assert_eq!(line.take_due(now + 50 * MS), None);
        assert_eq!(line.take_due(now + 100 * MS), Some(b"old".to_vec()));
        assert_eq!(line.take_due(now + 100 * MS), Some(b"new".to_vec()));
    }

    #[test]
    fn a_full_queue_drops_what_comes_last() {
        let mut line = Line::new(1, 10);
        let now = Instant::now();
        for frame in [b"aaaa", b"bbbb", b"cccc"] {
            line.offer(frame, now);
        }
        assert_eq!(line.count().overflowed, 1);
        assert_eq!(line.take_due(now), Some(b"aaaa".to_vec()));
        line.offer(b"dddd", now);
        assert_eq!(line.take_due(now), Some(b"bbbb".to_vec()));
        assert_eq!(line.take_due(now), Some(b"dddd".to_vec()));
    }
}
