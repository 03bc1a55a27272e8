//! S9: a command told twice ends in the same state as told once.

use super::{Found, Violation};
use crate::command::{Command, Outcome, Stamped};
use crate::journal::Journal;
use crate::state::State;

/// Tells a copy of `after`, which a command has led to, the same command once more.
pub fn check_repeated(after: &State, stamped: &Stamped) -> Vec<Violation> {
    // A note and a batch are told as often as they are told.
    if matches!(stamped.command, Command::Note { .. } | Command::Batch { .. }) {
        return Vec::new();
    }
    let mut found = Found::default();
    let mut copy = after.clone();
    let outcome = copy.apply(after.index + 1, stamped.clone());
    found.unless(!matches!(outcome, Outcome::Applied { .. }), "S9", || {
        format!("told twice, applied twice: {:?}", stamped.command)
    });
    found.unless(substance(copy) == substance(after.clone()), "S9", || {
        format!("told twice, changed twice: {:?}", stamped.command)
    });
    found.0
}

/// Without what every entry leaves behind, also one that is refused.
fn substance(mut state: State) -> State {
    (state.index, state.now, state.journal) = (0, crate::time::Time(0), Journal::default());
    state
}
