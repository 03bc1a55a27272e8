//! What the commands of the simulation share: a range of seeds, and threads that go through work together.

use std::ops::Range;
use std::str::FromStr;

/// From the first to the one before the last; there is one at least.
#[derive(Clone, Debug)]
pub struct Seeds(pub Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let two = text.split_once("..").ok_or("two numbers are wanted, as 1..1000")?;
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        let seeds = number(two.0)?..number(two.1)?;
        if seeds.is_empty() { Err("there is none".to_owned()) } else { Ok(Seeds(seeds)) }
    }
}

/// Until `next` gives no more, on so many threads.
pub fn share<T>(jobs: usize, next: impl Fn() -> Option<T> + Sync, each: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(one) = next() {
                    each(one);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_seeds_has_one_at_least() {
        assert_eq!("1..3".parse::<Seeds>().map(|seeds| seeds.0), Ok(1..3));
        for wrong in ["", "1", "1..", "a..3", "3..3", "4..3"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong:?}");
        }
    }
}
