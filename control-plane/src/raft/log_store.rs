//! The Raft log, vote and snapshot on a [`Disk`].
//!
//! The newest entries are also held in memory, where replication and applying read them; what fell out
//! is read from disk. Writing is left to the one [writer](super::writer).

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};

use super::disk::{Disk, Op, Table};
use super::frames::{self, Frames, damaged};
use super::types::{Entry, LogId, TypeConfig, Vote};
use super::writer::{COMMITTED, Commit, Done, Job, Jobs, Progress};

/// Entries held in memory beyond those not yet on disk, in bytes of their encoding.
const TAIL_BYTES: usize = 2 * 1024 * 1024;
/// How much one append request may carry, so that it stays far below the message limit.
const READ_BYTES: usize = 1024 * 1024;

const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";

/// A handle; clones share one log.
#[derive(Clone)]
pub struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) jobs: Jobs,
    progress: Arc<Progress>,
    log: Arc<Mutex<Log>>,
    pub(super) snapshot: Arc<tokio::sync::Mutex<super::snapshot::Held>>,
}

#[derive(Default)]
struct Log {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The newest entries with their encoded size, without gaps, up to `last`.
    tail: VecDeque<(Entry, usize)>,
    tail_bytes: usize,
}

impl Log {
    fn end(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    fn push(&mut self, entry: Entry, bytes: usize) {
        self.last = Some(entry.log_id);
        self.tail.push_back((entry, bytes));
        self.tail_bytes += bytes;
    }

    /// Lets go of old entries that can be read back from disk.
    fn evict(&mut self, on_disk_end: u64) {
        while self.tail_bytes > TAIL_BYTES
            && self.tail.front().is_some_and(|(entry, _)| entry.log_id.index < on_disk_end)
            && let Some((_, bytes)) = self.tail.pop_front()
        {
            self.tail_bytes -= bytes;
        }
    }
}

impl Store {
    /// Reads what `disk` holds.
    ///
    /// # Errors
    /// `InvalidData` when the log has a gap or an entry cannot be read.
    pub fn open(disk: Arc<dyn Disk>, commit: Commit) -> io::Result<Store> {
        let mut log = Log {
            vote: read_meta(disk.as_ref(), VOTE)?,
            purged: read_meta(disk.as_ref(), PURGED)?,
            ..Log::default()
        };
        log.last = log.purged;
        let first = log.purged.map_or(0, |id| id.index + 1);
        frames::read(disk.as_ref(), first, u64::MAX, usize::MAX, |entry, bytes| {
            // Nothing was written before the first entry of a fresh log, so only later gaps are damage.
            if log.last.is_some() && entry.log_id.index != log.end() {
                return Err(damaged(format!("log entry {} is missing", log.end())));
            }
            log.push(entry, bytes);
            log.evict(u64::MAX);
            Ok(())
        })?;
        let progress = Arc::new(Progress::default());
        progress.log_end.store(log.end(), Ordering::Release);
        let committed: Option<LogId> = read_meta(disk.as_ref(), COMMITTED)?;
        *progress.committed.lock().expect("no panic under this lock") = committed.min(log.last);
        let jobs =
            Jobs::start(commit, disk.clone(), frames::left_behind(disk.as_ref(), first)?, progress.clone())?;
        let snapshot = Arc::new(tokio::sync::Mutex::new(super::snapshot::Held::read(disk.as_ref())?));
        Ok(Store { disk, jobs, progress, log: Arc::new(Mutex::new(log)), snapshot })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no panic under this lock")
    }

    fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let log = self.log();
        let (start, end) = (start.max(log.purged.map_or(0, |id| id.index + 1)), end.min(log.end()));
        let tail_start = log.tail.front().map_or(log.end(), |(entry, _)| entry.log_id.index);
        if start < tail_start {
            // Not under the lock: entries before the tail are on disk, and only a purge touches them.
            drop(log);
            frames::read(self.disk.as_ref(), start, end.min(tail_start), max_bytes, |entry, size| {
                bytes += size;
                found.push(entry);
                Ok(())
            })?;
            if bytes < max_bytes && tail_start < end {
                found.extend(self.read(tail_start, end, max_bytes - bytes)?);
            }
            return Ok(found);
        }
        for (entry, size) in log.tail.iter().skip((start - tail_start) as usize) {
            if entry.log_id.index >= end || (bytes + size > max_bytes && !found.is_empty()) {
                break;
            }
            bytes += size;
            found.push(entry.clone());
        }
        Ok(found)
    }
}

pub(super) fn read_meta<T: serde::de::DeserializeOwned>(
    disk: &dyn Disk,
    key: &[u8],
) -> io::Result<Option<T>> {
    let Some(json) = disk.get(Table::Meta, key)? else { return Ok(None) };
    let name = String::from_utf8_lossy(key);
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|error| damaged(format!("\"{name}\" cannot be read: {error}")))
}

fn put_meta<T: serde::Serialize>(key: &[u8], value: &T) -> io::Result<Op> {
    Ok(Op::Put(Table::Meta, key.to_vec(), serde_json::to_vec(value)?))
}

impl RaftLogReader<TypeConfig> for Store {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Store {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let log = self.log();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last })
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.jobs.write(vec![put_meta(VOTE, vote)?], None).await?;
        self.log().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        *self.progress.committed.lock().expect("no panic under this lock") = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(*self.progress.committed.lock().expect("no panic under this lock"))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut frames = Frames::default();
        let log_end = {
            let mut log = self.log();
            for entry in entries {
                let bytes = frames.push(&entry)?;
                log.push(entry, bytes);
            }
            log.evict(self.progress.log_end.load(Ordering::Acquire));
            log.end()
        };
        let ops = frames.finish()?;
        self.jobs
            .submit(Job { ops, log_end: Some(log_end), later: Vec::new(), done: Done::Append(callback) })
            .await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let keep = last.map_or(0, |id| id.index + 1);
        let end = {
            let mut log = self.log();
            if keep >= log.end() {
                return Ok(());
            }
            while log.tail.back().is_some_and(|(entry, _)| entry.log_id.index >= keep)
                && let Some((_, bytes)) = log.tail.pop_back()
            {
                log.tail_bytes -= bytes;
            }
            let end = log.end();
            log.last = last.max(log.purged);
            end
        };
        // What is on its way has to be on disk before its frames can be cut.
        self.jobs.write(Vec::new(), None).await?;
        let ops = frames::truncate(self.disk.as_ref(), keep, end)?;
        self.jobs.write(ops, Some(keep)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let first = {
            let mut log = self.log();
            if log.purged >= Some(upto) {
                return Ok(());
            }
            let first = log.purged.map_or(0, |id| id.index + 1);
            log.purged = Some(upto);
            log.last = log.last.max(Some(upto));
            while log.tail.front().is_some_and(|(entry, _)| entry.log_id.index <= upto.index)
                && let Some((_, bytes)) = log.tail.pop_front()
            {
                log.tail_bytes -= bytes;
            }
            first
        };
        // The mark is waited for, the deletes are not: what lies before the mark is never read again.
        let log_end = self.progress.log_end.load(Ordering::Acquire).max(upto.index + 1);
        let later = frames::purge(first, upto.index + 1);
        self.jobs.write(vec![put_meta(PURGED, &upto)?], Some(log_end)).await?;
        self.jobs.submit(Job { ops: Vec::new(), log_end: None, later, done: Done::Nobody }).await
    }
}
