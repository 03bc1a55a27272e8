//! What must always hold (DESIGN, section 9), as pure functions over the state before and after
//! an entry of the log. Property tests and simulations ask them after every entry. S1, S3, S4,
//! S7 and S10 are not of this crate's state: other checkers watch those from outside.

mod s2_never_falls;
mod s5_bounded_moves;
mod s6_names_follow;
mod s8_explained;
mod s9_repeatable;
mod sound_records;

use std::fmt;

pub use s9_repeatable::check_repeated;

use crate::state::State;

/// An invariant that does not hold: a fault of the program, never of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Such as `S2`.
    pub invariant: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// Everything that one entry, which led from `before` to `after`, has broken.
pub fn check(before: &State, after: &State) -> Vec<Violation> {
    let mut found = Found::default();
    s2_never_falls::check(before, after, &mut found);
    s5_bounded_moves::check(before, after, &mut found);
    s6_names_follow::check(after, &mut found);
    s8_explained::check(before, after, &mut found);
    sound_records::check(after, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn unless(&mut self, holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { invariant, detail: detail() });
        }
    }
}
