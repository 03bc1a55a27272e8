//! The disk of a controller: what was not synced is gone after a crash, but for some that came first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use control_plane::raft::{Disk, MemoryDisk, Op, SyncTakes, Table, Visit};

use super::ground::Ground;
use crate::sim::ground::Machine;

const SYNC_LEAST: Duration = Duration::from_micros(200);
const SYNC_MOST: Duration = Duration::from_millis(3);

/// As a controller has it.
pub struct Attached {
    pub disk: MemoryDisk,
    /// A sync that returned has done nothing: a bug that can be put in.
    pub forgets: bool,
}

impl Disk for Attached {
    fn write(&self, ops: Vec<Op>) -> io::Result<()> {
        self.disk.write(ops)
    }

    fn sync(&self) -> io::Result<()> {
        if self.forgets { Ok(()) } else { self.disk.sync() }
    }

    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.disk.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], visit: Visit<'_>) -> io::Result<()> {
        self.disk.scan(table, from, visit)
    }
}

pub fn sync_takes(ground: &Ground, machine: Machine) -> SyncTakes {
    let ground = ground.clone();
    Arc::new(move || ground.chance.between(SYNC_LEAST, SYNC_MOST) + ground.truth().slow_disks[machine])
}

/// Gives how many writes were lost.
pub fn lose_power(ground: &Ground, disk: &MemoryDisk) -> u64 {
    let unsynced = disk.unsynced() as u64;
    let survivors = ground.chance.below(unsynced + 1);
    disk.lose_power(survivors as usize);
    unsynced - survivors
}
