//! Drawing one of several by weight.

/// A non-empty list of items with weights above zero.
#[derive(Clone, Debug)]
pub(crate) struct Weighted<T> {
    /// Each with the sum of the weights up to and including its own.
    items: Vec<(u32, T)>,
}

impl<T> Weighted<T> {
    /// `None` where no item has a weight above zero.
    pub(crate) fn new(items: impl IntoIterator<Item = (u8, T)>) -> Option<Self> {
        let mut sum = 0;
        let items: Vec<_> = items
            .into_iter()
            .filter(|(weight, _)| *weight > 0)
            .map(|(weight, item)| {
                sum += u32::from(weight);
                (sum, item)
            })
            .collect();
        (!items.is_empty()).then_some(Self { items })
    }

    pub(crate) fn sole(item: T) -> Self {
        Self { items: vec![(1, item)] }
    }

    /// The index of the item that `random`, uniform over all `u64`, falls upon.
    pub(crate) fn draw(&self, random: u64) -> usize {
        let total = self.items[self.items.len() - 1].0;
        // Multiply and shift: no division, and a bias of at most total / 2^32.
        let point = (((random >> 32) * u64::from(total)) >> 32) as u32;
        self.items.iter().position(|(upto, _)| point < *upto).expect("point is below the last sum")
    }

    pub(crate) fn get(&self, index: usize) -> &T {
        &self.items[index].1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|(_, item)| item)
    }

    pub(crate) fn heaviest(&self) -> &T {
        let mut before = 0;
        let mut best: (u32, &T) = (0, &self.items[0].1);
        for (upto, item) in &self.items {
            if upto - before > best.0 {
                best = (upto - before, item);
            }
            before = *upto;
        }
        best.1
    }

    /// The same weights over other items, each made from its index.
    pub(crate) fn map_indexed<U, E>(
        &self,
        mut make: impl FnMut(usize) -> Result<U, E>,
    ) -> Result<Weighted<U>, E> {
        let items = self.items.iter().enumerate().map(|(i, (upto, _))| Ok((*upto, make(i)?)));
        Ok(Weighted { items: items.collect::<Result<_, E>>()? })
    }
}

/// The next value of a splitmix64 sequence (Steele, Lea, Flood 2014): spreads one handed-in random
/// number over the draws of one answer, and a seed over the answers of one listener.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights_and_never_fall_on_zero() {
        let weighted = Weighted::new([(0, "never"), (3, "most"), (1, "some"), (0, "never")]).unwrap();
        let mut state = 7;
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..40_000 {
            *counts.entry(*weighted.get(weighted.draw(next_random(&mut state)))).or_insert(0) += 1;
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["most", "some"]);
        assert!((29_000..31_000).contains(&counts["most"]), "{counts:?}");
        assert_eq!(*weighted.heaviest(), "most");
    }

    #[test]
    fn the_ends_of_the_random_range_fall_inside() {
        let weighted = Weighted::new([(1, 'a'), (255, 'b')]).unwrap();
        assert_eq!(*weighted.get(weighted.draw(0)), 'a');
        assert_eq!(*weighted.get(weighted.draw(u64::MAX)), 'b');
        assert!(Weighted::new([(0, 'a')]).is_none());
    }
}
