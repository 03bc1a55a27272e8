//! What clients were promised, and who took writes when: what S1 and S3 are judged by.

use std::collections::BTreeSet;
use std::time::Duration;

use decision::plan::Epoch;

use super::ground::Machine;
use super::ledger::Ledger;
use super::queue::Moment;
use super::wal::{BranchId, Log, Record};

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    at: Moment,
    record: Record,
}

#[derive(Default)]
pub struct History {
    branches: u32,
    /// Who takes writes now.
    writers: BTreeSet<Machine>,
    acknowledged: Vec<Acknowledged>,
    /// The highest epoch at which anything was acknowledged.
    newest: Epoch,
    /// What may be lost when somebody takes writes: what was acknowledged so long before the last that was. None: nothing.
    pub may_lose: Option<Duration>,
    pub lost: usize,
    pub writes: usize,
    /// When anything was acknowledged last.
    pub last: Option<Moment>,
}

impl History {
    pub fn new(may_lose: Option<Duration>) -> History {
        History { may_lose, ..History::default() }
    }

    pub fn branch(&mut self) -> BranchId {
        self.branches += 1;
        BranchId(self.branches)
    }

    /// S1: nothing is acknowledged after the first of a later epoch.
    pub fn acknowledges(
        &mut self,
        at: Moment,
        machine: Machine,
        record: Record,
        epoch: Epoch,
        ledger: &mut Ledger,
    ) {
        if epoch < self.newest {
            let detail = format!(
                "machine {machine} acknowledged a write at epoch {epoch} after one at {}",
                self.newest
            );
            ledger.finds(at, "S1", detail);
        }
        self.newest = self.newest.max(epoch);
        self.writes += 1;
        self.last = Some(at);
        self.acknowledged.push(Acknowledged { at, record });
    }

    pub fn ends(&mut self, machine: Machine) {
        self.writers.remove(&machine);
    }

    /// Besides this one.
    pub fn writers_beside(&self, machine: Machine) -> impl Iterator<Item = Machine> {
        self.writers.iter().copied().filter(move |writer| *writer != machine)
    }

    /// S3: whoever takes writes has what was acknowledged, but for what may be lost.
    pub fn takes_writes(
        &mut self,
        at: Moment,
        machine: Machine,
        epoch: Epoch,
        log: Option<&Log>,
        ledger: &mut Ledger,
    ) {
        self.writers.insert(machine);
        let Some(log) = log else { return };
        let before = self.acknowledged.len();
        let mut too_old = None;
        let last = self.acknowledged.last().map_or(at, |write| write.at);
        let may_lose = self.may_lose;
        self.acknowledged.retain(|write| {
            let has = log.has(write.record);
            if !has && may_lose.is_none_or(|within| last.since(write.at) > within) {
                too_old = Some(*write);
            }
            has
        });
        self.lost += before - self.acknowledged.len();
        if let Some(write) = too_old {
            let ago = last.since(write.at).as_millis();
            let detail = format!(
                "machine {machine} takes writes at epoch {epoch} and lacks what was acknowledged {ago} ms before the last"
            );
            ledger.finds(at, "S3", detail);
        }
    }
}
