//! What was committed, and the state that each entry led to: applied once for all members, because it is the same
//! for all. Where it is not, that is found here; and every invariant of the state is asked for every entry.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use decision::command::{Command, Outcome, Stamped};
use decision::invariant;
use decision::state::State;

use super::queue::Moment;
use super::raft::{Logged, Member};

/// So many states are kept for members that are behind; whoever is further behind gets a later one, as a snapshot.
const KEPT: usize = 128;
/// Of so many entries one is told twice, in a copy of the state (S9).
const REPEATED_EVERY: u64 = 8;

/// What does not hold, and when that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: Moment,
    pub invariant: &'static str,
    pub detail: String,
}

pub struct Ledger {
    /// Who was elected in each term.
    leaders: BTreeMap<u64, Member>,
    /// The index of the first that is kept.
    first: u64,
    kept: VecDeque<Applied>,
    violations: Vec<Violation>,
}

#[derive(Clone)]
pub struct Applied {
    term: u64,
    command: Option<Rc<Stamped>>,
    pub state: Rc<State>,
    /// None: of what a leader begins its term with.
    pub outcome: Option<Rc<Outcome>>,
}

impl Default for Ledger {
    fn default() -> Self {
        let before = Applied { term: 0, command: None, state: Rc::default(), outcome: None };
        Ledger { leaders: BTreeMap::new(), first: 0, kept: [before].into(), violations: Vec::new() }
    }
}

impl Ledger {
    /// What this entry led to. None: it is so old that a snapshot takes its place.
    pub fn applies(&mut self, at: Moment, index: u64, entry: &Logged<Stamped>) -> Option<Applied> {
        let place = index.checked_sub(self.first)? as usize;
        if let Some(applied) = self.kept.get(place) {
            let is_same = match (&applied.command, &entry.command) {
                (Some(applied), Some(given)) => Rc::ptr_eq(applied, given) || applied == given,
                (applied, given) => applied.is_none() && given.is_none(),
            };
            if applied.term != entry.term || !is_same {
                let detail = format!(
                    "at index {index} entries of terms {} and {} were committed",
                    applied.term, entry.term
                );
                let applied = applied.clone();
                self.finds(at, "S7", detail);
                return Some(applied);
            }
            return Some(applied.clone());
        }
        let before = Rc::clone(&self.kept.back()?.state);
        let applied = self.applies_first(at, &before, index, entry);
        self.kept.push_back(applied.clone());
        if self.kept.len() > KEPT {
            self.kept.pop_front();
            self.first += 1;
        }
        Some(applied)
    }

    fn applies_first(
        &mut self,
        at: Moment,
        before: &Rc<State>,
        index: u64,
        entry: &Logged<Stamped>,
    ) -> Applied {
        let Some(stamped) = &entry.command else {
            return Applied { term: entry.term, command: None, state: Rc::clone(before), outcome: None };
        };
        let mut after = State::clone(before);
        let outcome = self.applies_to(&mut after, at, index, Stamped::clone(stamped));
        let command = entry.command.clone();
        Applied { term: entry.term, command, state: Rc::new(after), outcome: Some(Rc::new(outcome)) }
    }

    /// One by one, as the state does it: in the midst of a batch, too, everything holds.
    fn applies_to(&mut self, state: &mut State, at: Moment, index: u64, stamped: Stamped) -> Outcome {
        if let Command::Batch { commands } = stamped.command {
            let one = |command| Stamped { at: stamped.at, by: stamped.by.clone(), command };
            let outcomes =
                commands.into_iter().map(|command| self.applies_to(state, at, index, one(command)));
            return Outcome::Batch { outcomes: outcomes.collect() };
        }
        let before = state.clone();
        let again = index.is_multiple_of(REPEATED_EVERY).then(|| stamped.clone());
        let outcome = state.apply(index, stamped);
        let mut broken = invariant::check(&before, state);
        if let (Some(again), false) = (again, matches!(outcome, Outcome::Refused { .. })) {
            broken.extend(invariant::check_repeated(state, &again));
        }
        for broken in broken {
            self.finds(at, broken.invariant, broken.detail);
        }
        outcome
    }

    /// A term has one leader at most.
    pub fn leads(&mut self, at: Moment, term: u64, member: Member) {
        let first = *self.leaders.entry(term).or_insert(member);
        if first != member {
            self.finds(at, "S7", format!("members {first} and {member} lead in term {term}"));
        }
    }

    /// The oldest that is kept: what a snapshot brings whoever is behind it.
    pub fn oldest(&self) -> (u64, &Rc<State>) {
        (self.first, &self.kept[0].state)
    }

    /// The newest that was committed.
    pub fn newest(&self) -> (u64, &Rc<State>) {
        let last = self.kept.len() as u64 - 1;
        (self.first + last, &self.kept[last as usize].state)
    }

    /// What this entry led to, if it is kept.
    #[cfg(regent_whole)]
    pub fn at(&self, index: u64) -> Option<&Rc<State>> {
        let place = index.checked_sub(self.first)? as usize;
        self.kept.get(place).map(|applied| &applied.state)
    }

    pub fn finds(&mut self, at: Moment, invariant: &'static str, detail: String) {
        // One that is broken is mostly broken again and again.
        if self.violations.len() < 20 {
            self.violations.push(Violation { at, invariant, detail });
        }
    }

    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
