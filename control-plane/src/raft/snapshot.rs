//! The newest snapshot on disk, in pieces.
//!
//! A new one is written beside the old under its own number; then one key, `current`, turns to it. Since a
//! crash keeps a prefix of all writes, `current` always names a whole snapshot.

use std::io;
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, Op, Table, VALUE_MAX};
use super::log_store::{Store, read_meta};
use super::types::{Snapshot, SnapshotMeta};
use super::writer::{Done, Job};

const CURRENT: &[u8] = b"snapshot";
/// Pieces written before a sync.
const STEP_PIECES: usize = 16;

/// What `current` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Current {
    number: u64,
    bytes: u64,
    meta: SnapshotMeta,
}

#[derive(Default)]
pub(super) struct Held(Option<Current>);

impl Held {
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Held> {
        read_meta(disk, CURRENT).map(Held)
    }
}

impl Store {
    /// Returns when the snapshot is durable; one no newer than that held is dropped.
    pub(super) async fn save_snapshot(&self, meta: &SnapshotMeta, data: &Bytes) -> io::Result<()> {
        let mut held = self.snapshot.lock().await;
        if held.0.as_ref().is_some_and(|current| current.meta.last_log_id >= meta.last_log_id) {
            return Ok(());
        }
        let number = held.0.as_ref().map_or(0, |current| current.number + 1);
        let current = Current { number, bytes: data.len() as u64, meta: meta.clone() };
        // What a crash left of an earlier try goes first.
        let older = held.0.as_ref().map_or(number, |current| current.number);
        let leftovers = vec![delete_numbers(0, older), delete_numbers(number, u64::MAX)];
        self.jobs.write(leftovers, None).await?;
        // A few pieces at a time, so that appends are synced in between and none waits for the whole.
        for (step, part) in data.chunks(STEP_PIECES * VALUE_MAX).enumerate() {
            let pieces = part.chunks(VALUE_MAX).enumerate().map(|(piece, bytes)| {
                let piece = step * STEP_PIECES + piece;
                Op::Put(Table::Snapshot, key(number, piece as u64), bytes.to_vec())
            });
            self.jobs.write(pieces.collect(), None).await?;
        }
        let value = serde_json::to_vec(&current)?;
        if value.len() > VALUE_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "too many members for a snapshot's head",
            ));
        }
        self.jobs.write(vec![Op::Put(Table::Meta, CURRENT.to_vec(), value)], None).await?;
        if let Some(old) = &held.0 {
            let pieces = old.bytes.div_ceil(VALUE_MAX as u64);
            let later = (0..pieces)
                .step_by(STEP_PIECES)
                .map(|start| delete_pieces(old.number, start, start + STEP_PIECES as u64))
                .collect();
            self.jobs.submit(Job { ops: Vec::new(), log_end: None, later, done: Done::Nobody }).await?;
        }
        held.0 = Some(current);
        Ok(())
    }

    /// # Errors
    /// `InvalidData` when pieces are missing.
    pub(super) async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        let held = self.snapshot.lock().await;
        let Some(current) = &held.0 else { return Ok(None) };
        let mut data = BytesMut::with_capacity(current.bytes as usize);
        let (mut next, end) = (0, key(current.number + 1, 0));
        self.disk.scan(Table::Snapshot, &key(current.number, 0), &mut |found, part| {
            if found >= end.as_slice() || found != key(current.number, next).as_slice() {
                return ControlFlow::Break(());
            }
            data.extend_from_slice(part);
            next += 1;
            ControlFlow::Continue(())
        })?;
        if data.len() as u64 != current.bytes {
            let why = format!("the snapshot has {} of {} bytes", data.len(), current.bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Some(Snapshot { meta: current.meta.clone(), snapshot: data.freeze() }))
    }
}

fn key(number: u64, piece: u64) -> Vec<u8> {
    [number.to_be_bytes(), piece.to_be_bytes()].concat()
}

fn delete_numbers(start: u64, end: u64) -> Op {
    Op::DeleteRange { table: Table::Snapshot, from: key(start, 0), to: key(end, 0) }
}

fn delete_pieces(number: u64, start: u64, end: u64) -> Op {
    let (from, to) = (key(number, start), key(number, end));
    Op::DeleteRange { table: Table::Snapshot, from, to }
}
