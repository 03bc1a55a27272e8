//! The one writer to disk: takes jobs in order, writes and syncs them together, then acknowledges.
//! Group commit comes from the wait: while one sync runs, the next batch gathers.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::storage::IOFlushed;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, Op, Table};
use super::types::{LogId, TypeConfig};

/// Jobs that may wait; who comes after that waits to hand in.
const QUEUE: usize = 1024;
/// Ops that share a sync; later ones have the next.
const BATCH_OPS: usize = 512;
pub(super) const COMMITTED: &[u8] = b"committed";

/// How long the next sync takes, where time is simulated.
pub type SyncTakes = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How the writer runs.
#[derive(Clone)]
pub enum Commit {
    /// On a thread of its own, many appends a sync.
    Grouped,
    /// At once, on the caller's task: the same order every time, for simulation.
    Inline,
    /// As `Grouped`, but on a task: between a write and its sync time passes, in which power may be lost.
    Slow(SyncTakes),
}

/// Something to be made durable.
pub(super) struct Job {
    pub ops: Vec<Op>,
    /// One past the last log index on disk after this job; none when it does not change that.
    pub log_end: Option<u64>,
    /// Nobody waits for these: done a piece at a time beside later jobs, so that they hold up none.
    pub later: Vec<Op>,
    pub done: Done,
}

pub(super) enum Done {
    Append(IOFlushed<TypeConfig>),
    Waiter(oneshot::Sender<io::Result<()>>),
    Nobody,
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Done::Append(callback) => callback.io_completed(result),
            // Who asked may have been cancelled; the write stands all the same.
            Done::Waiter(waiter) => drop(waiter.send(result)),
            Done::Nobody => {}
        }
    }
}

/// What the writer and the store tell each other without a job.
#[derive(Default)]
pub(super) struct Progress {
    /// The newest committed entry. It need not be durable (a quorum knows it), so it rides along.
    pub committed: Mutex<Option<LogId>>,
    /// One past the last log index that can be read back from disk.
    pub log_end: AtomicU64,
}

#[derive(Clone)]
pub(super) enum Jobs {
    Grouped(mpsc::Sender<Job>),
    Inline(Arc<Mutex<Writer>>),
}

impl Jobs {
    pub(super) fn start(
        commit: Commit,
        disk: Arc<dyn Disk>,
        later: Vec<Op>,
        progress: Arc<Progress>,
    ) -> io::Result<Jobs> {
        let written = *progress.committed.lock().expect("no panic under this lock");
        let later = VecDeque::from(later);
        let mut writer = Writer { disk, progress, committed_written: written, later, failed: None };
        let (queue, mut jobs) = mpsc::channel(QUEUE);
        match commit {
            Commit::Inline => return Ok(Jobs::Inline(Arc::new(Mutex::new(writer)))),
            Commit::Slow(takes) => {
                tokio::spawn(writer.keep(jobs, takes));
                return Ok(Jobs::Grouped(queue));
            }
            Commit::Grouped => {}
        }
        std::thread::Builder::new().name("raft-log".into()).spawn(move || {
            while let Some(batch) =
                writer.ready(&mut jobs).or_else(|| jobs.blocking_recv().map(|first| gather(first, &mut jobs)))
            {
                writer.run(batch);
            }
            // A clean stop; without this the next start only replays less at first.
            writer.run(Vec::new());
        })?;
        Ok(Jobs::Grouped(queue))
    }

    pub(super) async fn submit(&self, job: Job) -> io::Result<()> {
        match self {
            Jobs::Grouped(queue) => queue.send(job).await.map_err(|_| stopped()),
            Jobs::Inline(writer) => {
                writer.lock().map_err(|_| stopped())?.run(vec![job]);
                Ok(())
            }
        }
    }

    /// Returns when `ops` are durable.
    pub(super) async fn write(&self, ops: Vec<Op>, log_end: Option<u64>) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        self.submit(Job { ops, log_end, later: Vec::new(), done: Done::Waiter(done) }).await?;
        durable.await.map_err(|_| stopped())?
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log's writer has stopped; restart the controller")
}

fn gather(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut ops = first.ops.len();
    let mut batch = vec![first];
    while ops < BATCH_OPS
        && let Ok(job) = jobs.try_recv()
    {
        ops += job.ops.len();
        batch.push(job);
    }
    batch
}

pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    progress: Arc<Progress>,
    committed_written: Option<LogId>,
    later: VecDeque<Op>,
    /// After a failed sync the kernel may have dropped what it could not write, so nothing later may be
    /// acknowledged (the lesson of PostgreSQL's "fsyncgate", 2018).
    failed: Option<(io::ErrorKind, String)>,
}

impl Writer {
    /// What can be done at once: jobs, or a piece of what nobody waits for. None: wait for a job.
    fn ready(&self, jobs: &mut mpsc::Receiver<Job>) -> Option<Vec<Job>> {
        match jobs.try_recv() {
            Ok(first) => Some(gather(first, jobs)),
            Err(TryRecvError::Empty) if self.failed.is_none() && !self.later.is_empty() => Some(Vec::new()),
            Err(_) => None,
        }
    }

    /// [`Commit::Slow`]: until nobody can hand in any more, or power is lost.
    async fn keep(mut self, mut jobs: mpsc::Receiver<Job>, takes: SyncTakes) {
        loop {
            let mut batch = match self.ready(&mut jobs) {
                Some(batch) => batch,
                None => match jobs.recv().await {
                    Some(first) => gather(first, &mut jobs),
                    None => return,
                },
            };
            let log_end = self.write(&mut batch);
            if log_end.is_some() {
                tokio::time::sleep(takes()).await;
            }
            self.sync(log_end);
            self.tell(batch);
        }
    }

    fn run(&mut self, mut batch: Vec<Job>) {
        let log_end = self.write(&mut batch);
        self.sync(log_end);
        self.tell(batch);
    }

    fn tell(&self, batch: Vec<Job>) {
        for job in batch {
            job.done.tell(match &self.failed {
                None => Ok(()),
                Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
            });
        }
    }

    /// Gives where the log ends once this is synced; none when nothing was written.
    fn write(&mut self, batch: &mut [Job]) -> Option<u64> {
        if self.failed.is_some() {
            return None;
        }
        self.put(batch).unwrap_or_else(|error| {
            self.fails(&error);
            None
        })
    }

    fn sync(&mut self, log_end: Option<u64>) {
        let Some(log_end) = log_end else { return };
        match self.disk.sync() {
            Ok(()) => self.progress.log_end.store(log_end, Ordering::Release),
            Err(error) => self.fails(&error),
        }
    }

    fn fails(&mut self, error: &io::Error) {
        tracing::error!(%error, "the disk failed; nothing more will be acknowledged");
        self.failed = Some((error.kind(), error.to_string()));
    }

    fn put(&mut self, batch: &mut [Job]) -> io::Result<Option<u64>> {
        let mut log_end = self.progress.log_end.load(Ordering::Acquire);
        let mut pending = Vec::new();
        for job in batch {
            pending.append(&mut job.ops);
            log_end = job.log_end.unwrap_or(log_end);
            self.later.extend(std::mem::take(&mut job.later));
        }
        pending.extend(self.later.pop_front());
        let committed = *self.progress.committed.lock().expect("no panic under this lock");
        // Never ahead of the entries themselves: a follower may hear of a commit before it has the entry.
        if committed != self.committed_written
            && let Some(id) = committed
            && id.index < log_end
        {
            let json = serde_json::to_vec(&id)?;
            pending.push(Op::Put(Table::Meta, COMMITTED.to_vec(), json));
            self.committed_written = committed;
        }
        if pending.is_empty() {
            return Ok(None);
        }
        self.disk.write(pending)?;
        Ok(Some(log_end))
    }
}
