//! The log's entries on disk: frames of some that were appended together, because what a write costs in
//! sled grows with its keys far more than with their bytes.
//!
//! Table `Log`: key = index of the frame's first entry (8 bytes, big-endian) and part (2 bytes); value =
//! one byte, 1 when more parts follow, and up to [`PART_MAX`] bytes. The parts together are protobuf
//! `regent.raft.v1.Entry` messages, each after its length, whose command is JSON. Both describe
//! themselves, so fields can be added and old logs still read. An entry too long for one part has a frame
//! of its own.

use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;
use wire::proto::regent::raft::v1 as pb;

use super::convert;
use super::disk::{Disk, Op, Table, VALUE_MAX};
use super::types::Entry;

const PART_MAX: usize = VALUE_MAX - 1;
/// Entries in a frame at most, so that the one an entry lies in begins at most this far before it.
pub(super) const FRAME_ENTRIES: u64 = 64;

/// Gathers entries, which follow one another, into frames.
#[derive(Default)]
pub(super) struct Frames {
    ops: Vec<Op>,
    first: u64,
    entries: u64,
    bytes: Vec<u8>,
}

impl Frames {
    /// Gives the entry's encoded length.
    ///
    /// # Errors
    /// An entry too long for any frame.
    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<usize> {
        self.push_message(entry.log_id.index, &convert::entry(entry))
    }

    fn push_message(&mut self, index: u64, message: &pb::Entry) -> io::Result<usize> {
        let len = message.encoded_len();
        if self.entries == FRAME_ENTRIES
            || self.bytes.len() + len + prost::length_delimiter_len(len) > PART_MAX
        {
            self.close()?;
        }
        if self.entries == 0 {
            self.first = index;
        }
        message.encode_length_delimited(&mut self.bytes).expect("a vector grows");
        self.entries += 1;
        Ok(len)
    }

    fn close(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.entries) == 0 {
            return Ok(());
        }
        let parts = bytes.len().div_ceil(PART_MAX);
        if parts > usize::from(u16::MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a log entry over 256 MiB"));
        }
        // The last part first is not possible in key order, so readers check that the last one came.
        for (part, piece) in (1..).zip(bytes.chunks(PART_MAX)) {
            let mut value = Vec::with_capacity(piece.len() + 1);
            value.push(u8::from(part < parts));
            value.extend(piece);
            self.ops.push(Op::Put(Table::Log, key(self.first, part as u16 - 1), value));
        }
        Ok(())
    }

    /// The writes, in the order in which a crash may cut them off.
    ///
    /// # Errors
    /// As of [`push`](Frames::push).
    pub(super) fn finish(mut self) -> io::Result<Vec<Op>> {
        self.close()?;
        Ok(self.ops)
    }
}

fn key(index: u64, part: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(10);
    key.extend(index.to_be_bytes());
    key.extend(part.to_be_bytes());
    key
}

fn read_key(key: &[u8]) -> Option<(u64, u16)> {
    let index = key.get(..8)?.try_into().ok()?;
    let part = key.get(8..)?.try_into().ok()?;
    Some((u64::from_be_bytes(index), u16::from_be_bytes(part)))
}

pub(super) fn damaged(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Gives the entries of `[start, end)` in order, until `max_bytes` are reached.
///
/// # Errors
/// `InvalidData` where a frame is not what [`Frames`] wrote.
pub(super) fn read(
    disk: &dyn Disk,
    start: u64,
    end: u64,
    max_bytes: usize,
    mut give: impl FnMut(Entry, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut total = 0;
    visit(disk, frames_of(start), |first, frame| {
        each_message(first, frame, |index, message, len| {
            if index >= end || total >= max_bytes {
                return Ok(ControlFlow::Break(()));
            }
            if index >= start {
                let entry = convert::read_entry(&message)
                    .map_err(|error| damaged(format!("log entry {index}: {error}")))?;
                total += len;
                give(entry, len)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    })
}

/// Leaves the entries before `keep` of a log that ends at `end`. What is to be cut must be on disk.
///
/// # Errors
/// The disk cannot be read, or is damaged.
pub(super) fn truncate(disk: &dyn Disk, keep: u64, end: u64) -> io::Result<Vec<Op>> {
    // From the end backward, so that a crash in between leaves no hole.
    let mut ops = delete(keep, end);
    ops.reverse();
    visit(disk, frames_of(keep), |first, frame| {
        if first >= keep {
            return Ok(ControlFlow::Break(()));
        }
        let (mut kept, mut is_cut) = (Frames::default(), false);
        let _ = each_message(first, frame, |index, message, _| {
            is_cut |= index >= keep;
            if index < keep {
                kept.push_message(index, &message)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if is_cut {
            ops.extend(kept.finish()?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(ops)
}

/// Deletes the frames whose entries are all before `first`, of a log purged up to `purged` before.
pub(super) fn purge(purged: u64, first: u64) -> Vec<Op> {
    delete(frames_of(purged), frames_of(first))
}

/// What a crash between the mark and the deletes of a purge left.
///
/// # Errors
/// The disk cannot be read.
pub(super) fn left_behind(disk: &dyn Disk, first: u64) -> io::Result<Vec<Op>> {
    let mut oldest = first;
    disk.scan(Table::Log, &key(0, 0), &mut |key, _| {
        oldest = read_key(key).map_or(first, |(index, _)| index);
        ControlFlow::Break(())
    })?;
    Ok(delete(oldest, frames_of(first)))
}

/// The earliest index at which the frame that holds `index` may begin.
fn frames_of(index: u64) -> u64 {
    index.saturating_sub(FRAME_ENTRIES - 1)
}

/// In pieces, so that appends need not wait for all of them.
fn delete(start: u64, end: u64) -> Vec<Op> {
    const PIECE: u64 = 64;
    (start..end)
        .step_by(PIECE as usize)
        .map(|from| {
            let to = (from + PIECE).min(end);
            Op::DeleteRange { table: Table::Log, from: key(from, 0), to: key(to, 0) }
        })
        .collect()
}

/// Gives whole frames from the first that begins at `from` or later.
fn visit(
    disk: &dyn Disk,
    from: u64,
    mut give: impl FnMut(u64, Bytes) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let mut whole = Vec::new();
    let mut next_part = 0;
    let mut result = Ok(());
    let mut step = |key: &[u8], value: &[u8]| {
        let (index, part) = read_key(key).ok_or_else(|| damaged("a log key has a wrong length".into()))?;
        let (more, piece) =
            value.split_first().ok_or_else(|| damaged(format!("log entry {index} is empty")))?;
        if part == 0 {
            // What stands in `whole` was cut off by a crash before it was acknowledged.
            whole.clear();
        } else if part != next_part {
            return Err(damaged(format!("log entry {index} misses a part")));
        }
        whole.extend(piece);
        next_part = part + 1;
        if *more == 1 {
            return Ok(ControlFlow::Continue(()));
        }
        give(index, std::mem::take(&mut whole).into())
    };
    disk.scan(Table::Log, &key(from, 0), &mut |key, value| {
        step(key, value).unwrap_or_else(|error| {
            result = Err(error);
            ControlFlow::Break(())
        })
    })?;
    result
}

/// Gives each message of a frame with its index and length.
fn each_message(
    first: u64,
    mut frame: Bytes,
    mut give: impl FnMut(u64, pb::Entry, usize) -> io::Result<ControlFlow<()>>,
) -> io::Result<ControlFlow<()>> {
    for index in first.. {
        if frame.is_empty() {
            break;
        }
        let before = frame.len();
        let message = pb::Entry::decode_length_delimited(&mut frame)
            .map_err(|error| damaged(format!("log entry {index}: {error}")))?;
        if message.id.as_ref().map(|id| id.index) != Some(index) {
            return Err(damaged(format!("log entry {index} is missing")));
        }
        if give(index, message, before - frame.len())?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
