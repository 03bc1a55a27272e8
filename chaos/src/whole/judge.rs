//! What every member applied, looked at between two steps: each entry is asked for the invariants of the state once, by
//! the ledger that the fast depth has, and whatever another member applied at the same place has to be the same.

use std::collections::BTreeMap;
use std::rc::Rc;

use control_plane::raft::{Node, Store};
use futures::FutureExt;

use super::controller::member;
use super::ground::{Ground, Running};
use crate::sim::ground::Machine;
use crate::sim::ledger::Ledger;
use crate::sim::queue::Moment;
use crate::sim::raft::Logged;

const ELECTED: u64 = 5;
const APPLIED: u64 = 6;
/// Of so many looks at a member that has gone on, one compares all of its state.
const COMPARED_EVERY: u64 = 16;
/// Entries that a member which is well may not have applied yet.
const UNDER_WAY_MOST: u64 = 20;

pub struct Judge {
    ground: Ground,
    pub ledger: Ledger,
    /// Up to where each member that runs was judged.
    judged: BTreeMap<Machine, u64>,
    led: BTreeMap<Machine, u64>,
    looks: u64,
    /// Of the newest entry.
    ballot: u64,
}

/// Whom openraft takes an entry from: of two leaders of one term, which it allows, the one with the greater id comes
/// later. So it is not terms that have one leader, but these; and along the log they never fall.
fn ballot(term: u64, leader: u64) -> u64 {
    term << 8 | leader
}

impl Judge {
    pub fn new(ground: Ground) -> Judge {
        let (judged, led) = (BTreeMap::new(), BTreeMap::new());
        Judge { ground, ledger: Ledger::default(), judged, led, looks: 0, ballot: 0 }
    }

    /// Its process is gone; the next begins from its disk, and is judged from the beginning.
    pub fn forgets(&mut self, machine: Machine) {
        self.judged.remove(&machine);
        self.led.remove(&machine);
    }

    pub fn looks(&mut self) {
        let (now, running) = {
            let truth = self.ground.truth();
            (truth.step, truth.running.clone())
        };
        for (machine, Running { node, store }) in running {
            self.looks_at_leader(machine, &node);
            self.looks_at_applied(now, machine, &node, &store);
        }
    }

    fn looks_at_leader(&mut self, machine: Machine, node: &Node) {
        let status = node.status();
        if !node.is_leader() || self.led.insert(machine, status.term) == Some(status.term) {
            return;
        }
        self.ground.happens(ELECTED, machine, status.term);
        self.ground.line(|| format!("member {} leads in term {}", member(machine), status.term));
    }

    fn looks_at_applied(&mut self, now: Moment, machine: Machine, node: &Node, store: &Store) {
        let applied = node.view().applied().borrow().map_or(0, |id| id.index);
        let judged = self.judged.entry(machine).or_default();
        if applied == *judged {
            return;
        }
        let from = std::mem::replace(judged, applied) + 1;
        self.ground.happens(APPLIED, machine, applied);
        self.looks += 1;
        let logged = match store.logged(from, applied + 1).now_or_never() {
            Some(Ok(logged)) => logged,
            other => {
                let detail = format!("the log of member {} cannot be read: {other:?}", member(machine));
                return self.ground.finds("harness", detail);
            }
        };
        for entry in logged {
            let ballot = ballot(entry.id.leader_id.term, entry.id.leader_id.node_id);
            let index = entry.id.index;
            let entry = Logged { term: ballot, command: entry.command.map(Rc::new) };
            self.applies(now, index, &entry);
        }
        self.compares(now, machine, node);
    }

    fn applies(&mut self, now: Moment, index: u64, entry: &Logged<decision::command::Stamped>) {
        let (newest, before) = self.ledger.newest();
        let before = Rc::clone(before);
        if index > newest + 1 {
            let detail = format!("entries after {newest} were dropped before anybody looked at them");
            return self.ground.finds("harness", detail);
        }
        let is_new = index == newest + 1;
        if is_new && entry.term < self.ballot {
            let detail = format!("entry {index} of ballot {} follows one of {}", entry.term, self.ballot);
            self.ground.finds("S7", detail);
        }
        self.ballot = self.ballot.max(entry.term);
        let last = before.journal.last_seq();
        if self.ledger.applies(now, index, entry).is_none() || !is_new {
            return;
        }
        let (_, after) = self.ledger.newest();
        for told in after.journal.after(last) {
            self.ground.line(|| format!("{index}: {}: {:?}", told.by, told.event));
        }
    }

    /// The same log makes the same state.
    fn compares(&mut self, now: Moment, machine: Machine, node: &Node) {
        let state = node.view().state();
        let (newest, _) = self.ledger.newest();
        if state.index > newest {
            let detail = format!("member {} is at {}, past {newest}", member(machine), state.index);
            return self.ground.finds("harness", detail);
        }
        // None: it is so old that it is kept no more.
        let Some(expected) = self.ledger.at(state.index) else { return };
        let is_same = expected.journal.head() == state.journal.head()
            && expected.now == state.now
            && (!self.looks.is_multiple_of(COMPARED_EVERY) || **expected == *state);
        if !is_same {
            let detail = format!("member {} came to another state at index {}", member(machine), state.index);
            self.ledger.finds(now, "S7", detail);
        }
    }

    /// All run, and have come about as far as any, and to the same.
    pub fn demands_agreement(&mut self, now: Moment) {
        let (layout, running) = {
            let truth = self.ground.truth();
            (truth.layout, truth.running.clone())
        };
        let (newest, expected) = self.ledger.newest();
        let mut behind = Vec::new();
        for machine in layout.controllers() {
            let Some(Running { node, .. }) = running.get(&machine) else {
                behind.push(format!("member {} does not run", member(machine)));
                continue;
            };
            let applied = node.view().applied().borrow().map_or(0, |id| id.index);
            if applied + UNDER_WAY_MOST < newest {
                behind.push(format!("member {} has applied {applied} of {newest}", member(machine)));
            } else if applied == newest && *node.view().state() != **expected {
                behind.push(format!("member {} has another state at {newest}", member(machine)));
            }
        }
        for detail in behind {
            self.ledger.finds(now, "L3", detail);
        }
    }
}
