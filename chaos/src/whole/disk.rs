//! The disk of a controller: what was not synced is gone after a crash, but for some that came first.

use std::sync::Arc;
use std::time::Duration;

use control_plane::raft::{MemoryDisk, SyncTakes};

use super::ground::Ground;
use crate::sim::ground::Machine;

const SYNC_LEAST: Duration = Duration::from_micros(200);
const SYNC_MOST: Duration = Duration::from_millis(3);

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
