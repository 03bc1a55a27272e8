//! A drill whose process is gone, that has lasted for long enough, or that hurts more than it was meant to, is over.

use super::Round;
use crate::command::Command;
use crate::drill::guard;
use crate::state::State;
use crate::time::Time;

pub(super) fn end(round: &mut Round, state: &State, now: Time) -> Option<Command> {
    let drill = state.drills.values().find(|drill| drill.is_running())?;
    match guard::overstepped(state, drill) {
        Some((due, why)) if due <= now => {
            return Some(Command::EndDrill { drill: drill.id, why, by_guard: true });
        }
        Some((due, _)) => round.wake(due),
        None => {}
    }
    let Some(why) = drill.overdue(now) else {
        round.wake(drill.due_at());
        return None;
    };
    Some(Command::EndDrill { drill: drill.id, why: why.to_owned(), by_guard: false })
}
