//! Everything that is drawn by chance in a run, from its seed alone.

use std::time::Duration;

use wire::host::{Random as _, SeededRandom};

pub struct Chance(SeededRandom);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        let chance = Chance(SeededRandom::new(seed));
        // Neighbouring seeds begin with neighbouring states.
        chance.next();
        chance
    }

    pub fn next(&self) -> u64 {
        self.0.next_u64()
    }

    /// In `0..bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// So often in a thousand.
    pub fn permille(&self, of_thousand: u64) -> bool {
        of_thousand > 0 && self.below(1_000) < of_thousand
    }

    pub fn between(&self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_nanos() as u64;
        from + Duration::from_nanos(self.below(span + 1))
    }

    /// # Panics
    /// When there is nothing to pick from.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
