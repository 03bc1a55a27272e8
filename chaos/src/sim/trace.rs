//! What is remembered of a run: a hash of all that happened, and for a person what mattered.

use std::fmt;

use super::queue::Moment;

/// FNV-1a, by words of 64 bits instead of bytes: the same on every machine, and quick. A word is turned first, or its
/// high bits would never reach the low ones.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
const TURN: u32 = 23;

pub struct Trace {
    hash: u64,
    events: u64,
    /// None: nobody reads it.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(is_read: bool) -> Trace {
        Trace { hash: BASIS, events: 0, lines: is_read.then(Vec::new) }
    }

    pub fn mixes(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(TURN) ^ word).wrapping_mul(PRIME);
    }

    pub fn happens(&mut self, at: Moment, kind: u64, machine: usize) {
        self.events += 1;
        self.mixes(at.0);
        self.mixes(kind << 8 | machine as u64);
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    /// `what` is put together only if somebody reads it.
    pub fn line(&mut self, at: Moment, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10.3} s  {}", at.0 as f64 / 1e9, what()));
        }
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} of {} events", self.hash, self.events)
    }
}
