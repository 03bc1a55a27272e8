//! A disk in memory that can lose its power, for simulation.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, Op, Table, Visit};

type Tables = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Clones are the same disk, so that one handle can outlive a simulated process.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    live: Tables,
    durable: Tables,
    /// Written since the last sync, in order.
    unsynced: Vec<Op>,
}

impl MemoryDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic under this lock")
    }

    pub fn unsynced(&self) -> usize {
        self.inner().unsynced.len()
    }

    /// Leaves what was synced and the first `survivors` of what was written since, as a crash may.
    pub fn lose_power(&self, survivors: usize) {
        let mut inner = self.inner();
        let written = std::mem::take(&mut inner.unsynced);
        written.iter().take(survivors).for_each(|op| apply(&mut inner.durable, op));
        inner.live = inner.durable.clone();
    }
}

fn apply(tables: &mut Tables, op: &Op) {
    match op {
        Op::Put(table, key, value) => drop(tables.insert((*table, key.clone()), value.clone())),
        Op::Delete(table, key) => drop(tables.remove(&(*table, key.clone()))),
        Op::DeleteRange { table, from, to } => {
            let range = (*table, from.clone())..(*table, to.clone());
            let keys: Vec<_> = tables.range(range).map(|(key, _)| key.clone()).collect();
            keys.iter().for_each(|key| drop(tables.remove(key)));
        }
    }
}

impl Disk for MemoryDisk {
    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        let mut inner = self.inner();
        ops.iter().for_each(|op| apply(&mut inner.live, op));
        inner.unsynced.extend(ops);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        let written = std::mem::take(&mut inner.unsynced);
        written.iter().for_each(|op| apply(&mut inner.durable, op));
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.inner().live.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> io::Result<()> {
        let inner = self.inner();
        let start = Bound::Included((table, from.to_vec()));
        for ((found, key), value) in inner.live.range((start, Bound::Unbounded)) {
            if *found != table || visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
