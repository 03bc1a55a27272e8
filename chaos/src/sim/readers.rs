//! Operators that write to the control plane and read from it, through any controller: their history is what S7 is
//! judged by. A note is a write of its number; whoever reads finds the newest.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use decision::command::Command;
use decision::event::Event;
use decision::state::State;

use super::ground::{Ground, Machine};
use super::message::{Answer, Asked, Message};
use crate::linearizable::{OnRegister, Operation, Verdict, check_register};

/// Between two operations.
const PAUSE_MOST: Duration = Duration::from_secs(8);
/// Of the search for an order: many times what a history of ten minutes needs.
const ATTEMPTS: u64 = 2_000_000;

#[derive(Default)]
pub struct Readers {
    called: u64,
    history: Vec<Operation<OnRegister>>,
    /// By call, where it stands in the history.
    open: BTreeMap<u64, usize>,
}

impl Readers {
    /// One more of either kind, at some controller. Gives when the next follows.
    pub fn operates(&mut self, client: Machine, controllers: usize, ground: &mut Ground) -> Duration {
        self.called += 1;
        let call = self.called;
        let (asked, what) = match ground.chance.permille(400) {
            true => {
                let command = Rc::new(Command::Note { text: call.to_string() });
                (Asked::Commit { command, by: "operator/bob".into() }, OnRegister::Write(call))
            }
            // What it finds is written in when it is answered.
            false => (Asked::ReadIndex, OnRegister::Read(None)),
        };
        self.open.insert(call, self.history.len());
        self.history.push(Operation { called: ground.now().0, answered: None, what });
        let controller = ground.chance.below(controllers as u64) as usize;
        ground.send(client, controller, Message::Call { call, asked: Rc::new(asked) });
        ground.chance.between(Duration::from_millis(50), PAUSE_MOST)
    }

    pub fn is_answered(&mut self, call: u64, answer: &Answer, ground: &Ground) {
        let Some(n) = self.open.remove(&call) else { return };
        let operation = &mut self.history[n];
        match (answer, &mut operation.what) {
            (Answer::Committed(_), OnRegister::Write(_)) => operation.answered = Some(ground.now().0),
            (Answer::Read(state), OnRegister::Read(found)) => {
                (*found, operation.answered) = (newest_note(state), Some(ground.now().0));
            }
            _ => {}
        }
    }

    pub fn judge(self) -> Result<(), String> {
        judge(self.history)
    }
}

/// S7
pub fn judge(history: Vec<Operation<OnRegister>>) -> Result<(), String> {
    let operations = history.len();
    match check_register(history, ATTEMPTS) {
        Verdict::Linearizable => Ok(()),
        Verdict::Not { most } => {
            Err(format!("{most} of {operations} operations of operators can be put in order"))
        }
        Verdict::TooLong => Err("whether operators saw one order was not found out in time".to_owned()),
    }
}

fn newest_note(state: &State) -> Option<u64> {
    state.journal.entries().rev().find_map(|entry| noted(&entry.event))
}

pub fn noted(event: &Event) -> Option<u64> {
    match event {
        Event::Note { text } => text.parse().ok(),
        _ => None,
    }
}
