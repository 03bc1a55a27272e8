//! A queue whose copies share what they have in common: the state is copied at every look, and its journal is long.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const CHUNK: usize = 64;

#[derive(Clone, Debug)]
pub struct SharedQueue<T> {
    /// Full, but for the last.
    chunks: VecDeque<Arc<Vec<T>>>,
    /// Of the first chunk, how many were taken out.
    taken: usize,
}

impl<T> Default for SharedQueue<T> {
    fn default() -> Self {
        SharedQueue { chunks: VecDeque::new(), taken: 0 }
    }
}

impl<T: Clone> SharedQueue<T> {
    pub fn len(&self) -> usize {
        let last = self.chunks.back().map_or(0, |chunk| chunk.len());
        self.chunks.len().saturating_sub(1) * CHUNK + last - self.taken
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        let place = self.taken + index;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    pub fn back(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    pub fn push_back(&mut self, item: T) {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(item),
            _ => self.chunks.push_back(Arc::new(vec![item])),
        }
    }

    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.get(0)?.clone();
        self.taken += 1;
        if self.taken == CHUNK {
            self.chunks.pop_front();
            self.taken = 0;
        }
        Some(first)
    }

    /// Those before it cost nothing.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = &T> {
        (first..self.len()).map(|index| self.get(index).expect("within its length"))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        (0..self.len()).map(|index| self.get(index).expect("within its length"))
    }
}

impl<T: Clone> FromIterator<T> for SharedQueue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut queue = SharedQueue::default();
        items.into_iter().for_each(|item| queue.push_back(item));
        queue
    }
}

impl<T: Clone + PartialEq> PartialEq for SharedQueue<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Clone + Eq> Eq for SharedQueue<T> {}

impl<T: Clone + Serialize> Serialize for SharedQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Clone + Deserialize<'de>> Deserialize<'de> for SharedQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_queue_whatever_its_chunks() {
        let (mut shared, mut plain) = (SharedQueue::default(), VecDeque::new());
        for n in 0..10 * CHUNK {
            shared.push_back(n);
            plain.push_back(n);
            // Slower than it grows, until it is empty; and on.
            for _ in 0..if n % 200 > 150 { 5 } else { n % 2 } {
                assert_eq!(shared.pop_front(), plain.pop_front());
            }
            assert!(shared.iter().eq(plain.iter()) && shared.iter().rev().eq(plain.iter().rev()));
            assert_eq!((shared.len(), shared.back()), (plain.len(), plain.back()));
        }
        let json = serde_json::to_string(&shared).unwrap();
        assert_eq!(json, serde_json::to_string(&plain).unwrap());
        // Its chunks begin elsewhere now, and it is the same.
        assert_eq!(serde_json::from_str::<SharedQueue<usize>>(&json).unwrap(), shared);
    }

    #[test]
    fn what_is_done_to_a_copy_is_not_done_to_it() {
        let queue: SharedQueue<usize> = (0..100).collect();
        let mut copy = queue.clone();
        copy.push_back(100);
        copy.pop_front();
        assert!(queue.iter().copied().eq(0..100) && copy.iter().copied().eq(1..101));
        assert_ne!(queue, copy);
    }
}
