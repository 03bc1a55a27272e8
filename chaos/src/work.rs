//! What the commands of the simulation share: seeds, and threads that go through work together.

use std::ops::Range;
use std::str::FromStr;

/// Ranges, each from its first to the one before its last, and single ones; there is one at least.
#[derive(Clone, Debug)]
pub struct Seeds(Vec<Range<u64>>);

impl Seeds {
    pub fn all(&self) -> impl Iterator<Item = u64> + Send + use<> {
        self.0.clone().into_iter().flatten()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        text.split(',').map(range).collect::<Result<_, _>>().map(Seeds)
    }
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let seeds = match text.split_once("..") {
        Some((first, end)) => number(first)?..number(end)?,
        None => number(text).map(|seed| seed..seed.saturating_add(1))?,
    };
    if seeds.is_empty() { Err(format!("{text:?} names none")) } else { Ok(seeds) }
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
        let all = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.all().collect::<Vec<_>>());
        assert_eq!(all("1..3"), Ok(vec![1, 2]));
        assert_eq!(all("7,1..3,657"), Ok(vec![7, 1, 2, 657]));
        for wrong in ["", ",", "1,", "1..", "a..3", "3..3", "4..3", "1,3..3"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong:?}");
        }
    }
}
