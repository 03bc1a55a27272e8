//! Whether a history of operations could have happened one after another, each at a moment between its call and its
//! answer (Herlihy and Wing 1990). The search is Wing and Gong's (1993) with Lowe's memory of what was tried ("Testing for
//! linearizability", 2017), as in Porcupine. An operation whose answer never came may have happened at any time after
//! its call, or not at all.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

/// What operations do to a state.
pub trait Model {
    type State: Clone + Eq + Hash;
    type Operation;

    fn first(&self) -> Self::State;

    /// None: it cannot have been answered so in this state.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;
}

#[derive(Clone, Debug)]
pub struct Operation<O> {
    pub called: u64,
    /// None: nobody knows whether it was done.
    pub answered: Option<u64>,
    pub what: O,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order explains it. At most so many of its operations, from the beginning, can be put in order.
    Not {
        most: usize,
    },
    /// The search was given up: it proves nothing, and a run that ends so has failed.
    TooLong,
}

/// So many attempts at most.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Operation>], attempts: u64) -> Verdict {
    Search::new(model, history).runs(attempts)
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Operation>],
    /// By when they were called.
    order: Vec<usize>,
    done: Bits,
    /// What was done, in this order, and the state before each.
    path: Vec<(usize, M::State)>,
    tried: HashSet<(Bits, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Operation>]) -> Self {
        let mut order: Vec<usize> = (0..history.len()).collect();
        order.sort_by_key(|n| history[*n].called);
        let done = Bits::of(history.len());
        Search { model, history, order, done, path: Vec::new(), tried: HashSet::new() }
    }

    fn runs(mut self, mut attempts: u64) -> Verdict {
        let known = self.history.iter().filter(|operation| operation.answered.is_some()).count();
        let (mut state, mut most, mut known_done) = (self.model.first(), 0, 0);
        // Where in the order to look on.
        let mut from = 0;
        loop {
            if known_done == known {
                return Verdict::Linearizable;
            }
            if attempts == 0 {
                return Verdict::TooLong;
            }
            attempts -= 1;
            match self.next(&state, from) {
                Some((place, after)) => {
                    let n = self.order[place];
                    self.done.set(n, true);
                    known_done += usize::from(self.history[n].answered.is_some());
                    self.path.push((place, std::mem::replace(&mut state, after)));
                    most = most.max(known_done);
                    from = 0;
                }
                None => {
                    let Some((place, before)) = self.path.pop() else { return Verdict::Not { most } };
                    let n = self.order[place];
                    self.done.set(n, false);
                    known_done -= usize::from(self.history[n].answered.is_some());
                    (state, from) = (before, place + 1);
                }
            }
        }
    }

    /// The next that may come now, from this place in the order on, and was not tried with the same before it.
    fn next(&mut self, state: &M::State, from: usize) -> Option<(usize, M::State)> {
        // Whatever is called after an answer comes after what was answered.
        let undone = |n: &&usize| !self.done.get(**n);
        let until = self.order.iter().filter(undone).filter_map(|n| self.history[*n].answered).min();
        for place in from..self.order.len() {
            let n = self.order[place];
            let operation = &self.history[n];
            if until.is_some_and(|until| operation.called > until) {
                return None;
            }
            if self.done.get(n) {
                continue;
            }
            let Some(after) = self.model.step(state, &operation.what) else { continue };
            let mut with = self.done.clone();
            with.set(n, true);
            if self.tried.insert((with, after.clone())) {
                return Some((place, after));
            }
        }
        None
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(length: usize) -> Bits {
        Bits(vec![0; length.div_ceil(64)])
    }

    fn get(&self, n: usize) -> bool {
        self.0[n / 64] & (1 << (n % 64)) != 0
    }

    fn set(&mut self, n: usize, to: bool) {
        let bit = 1 << (n % 64);
        match to {
            true => self.0[n / 64] |= bit,
            false => self.0[n / 64] &= !bit,
        }
    }
}

/// One value, which is written and read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRegister {
    Write(u64),
    /// And found this; none: nothing was written yet.
    Read(Option<u64>),
}

impl Model for Register {
    type State = Option<u64>;
    type Operation = OnRegister;

    fn first(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, operation: &OnRegister) -> Option<Option<u64>> {
        match operation {
            OnRegister::Write(value) => Some(Some(*value)),
            OnRegister::Read(found) => (found == state).then_some(*state),
        }
    }
}

/// Whether this history of one register, in which no value is written twice, is linearizable. Of a write that nobody
/// answered it is known what became of it: it was done before the first answer of those who read it, or might as well
/// not have been.
pub fn check_register(mut history: Vec<Operation<OnRegister>>, attempts: u64) -> Verdict {
    let mut read: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in &history {
        if let (OnRegister::Read(Some(value)), Some(answered)) = (operation.what, operation.answered) {
            read.entry(value).and_modify(|first| *first = answered.min(*first)).or_insert(answered);
        }
    }
    history.retain_mut(|operation| {
        if let (OnRegister::Write(value), None) = (operation.what, operation.answered) {
            operation.answered = read.get(&value).copied();
        }
        operation.answered.is_some()
    });
    check(&Register, &history, attempts)
}

#[cfg(test)]
mod tests {
    use OnRegister::{Read, Write};

    use super::*;

    fn verdict(history: &[(u64, Option<u64>, OnRegister)]) -> Verdict {
        let history: Vec<_> = history
            .iter()
            .map(|(called, answered, what)| Operation { called: *called, answered: *answered, what: *what })
            .collect();
        check(&Register, &history, 100_000)
    }

    #[test]
    fn what_overlaps_may_come_in_either_order() {
        let write = [(0, Some(10), Write(1)), (5, Some(15), Write(2))];
        for found in [1, 2] {
            let history = [write[0], write[1], (20, Some(25), Read(Some(found)))];
            assert_eq!(verdict(&history), Verdict::Linearizable, "{found}");
        }
        let history = [write[0], write[1], (20, Some(25), Read(Some(1))), (30, Some(35), Read(Some(2)))];
        assert_eq!(verdict(&history), Verdict::Not { most: 3 });
    }

    #[test]
    fn what_was_answered_is_found_by_whoever_asks_later() {
        let stale = [(0, Some(10), Write(1)), (20, Some(30), Write(2)), (40, Some(50), Read(Some(1)))];
        assert_eq!(verdict(&stale), Verdict::Not { most: 2 });
        assert_eq!(verdict(&[(0, Some(1), Read(Some(7)))]), Verdict::Not { most: 0 });
        assert_eq!(verdict(&[(0, Some(1), Read(None))]), Verdict::Linearizable);
    }

    #[test]
    fn what_nobody_answered_may_come_late_or_never_but_not_early() {
        let unknown = (0, None, Write(1));
        assert_eq!(verdict(&[unknown, (10, Some(20), Read(None))]), Verdict::Linearizable);
        let late = [unknown, (10, Some(20), Read(None)), (30, Some(40), Read(Some(1)))];
        assert_eq!(verdict(&late), Verdict::Linearizable);
        let back = [unknown, (10, Some(20), Read(Some(1))), (30, Some(40), Read(None))];
        assert_eq!(verdict(&back), Verdict::Not { most: 1 });
        let early = [(10, None, Write(1)), (0, Some(5), Read(Some(1)))];
        assert_eq!(verdict(&early), Verdict::Not { most: 0 });
    }

    #[test]
    fn of_a_register_it_is_known_what_became_of_unanswered_writes() {
        // Forty that nobody answered, of which one was read, and then another value.
        let mut history: Vec<_> =
            (0..40).map(|n| Operation { called: n, answered: None, what: Write(n) }).collect();
        let read = |called, found| Operation { called, answered: Some(called + 1), what: Read(found) };
        history.extend([read(100, None), read(200, Some(7)), read(300, Some(7))]);
        assert_eq!(check_register(history.clone(), 1_000), Verdict::Linearizable);
        history.push(read(400, None));
        assert_eq!(check_register(history, 1_000), Verdict::Not { most: 4 });
    }

    #[test]
    fn a_search_that_is_given_up_says_so() {
        // Thirty at once, and a read that none of them explains.
        let mut history: Vec<_> = (0..30).map(|n| (0, Some(1_000), Write(n))).collect();
        history.push((2_000, Some(2_001), Read(Some(99))));
        assert_eq!(verdict(&history), Verdict::TooLong);
    }

    #[test]
    fn long_histories_of_a_true_register_are_quickly_found_right() {
        // Five clients whose calls overlap; each takes effect in the middle of its time.
        let (mut value, mut history) = (None, Vec::new());
        let mut effects: Vec<(u64, u64)> = (0..2_000).map(|n| (n * 10 + (n * 7) % 23, n)).collect();
        effects.sort_unstable();
        for (at, n) in effects {
            let what = match n % 3 {
                0 => {
                    value = Some(n);
                    Write(n)
                }
                _ => Read(value),
            };
            let answered = (n % 50 != 0 || n % 3 != 0).then_some(at + 15 + n % 11);
            history.push((at.saturating_sub(15 + n % 7), answered, what));
        }
        assert_eq!(verdict(&history), Verdict::Linearizable);
    }
}
