//! The state all members agree on: applies committed commands in order, and lets readers see it.

use std::io;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::log_store::Store;
use super::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::boundary;
use decision::state::State;
use wire::failpoint;

/// Entries applied under one lock.
const BATCH: usize = 256;

/// The readers' side; clones see the same state.
#[derive(Clone)]
pub struct View {
    state: Arc<RwLock<Arc<State>>>,
    applied: watch::Receiver<Option<LogId>>,
}

impl View {
    /// The state as of now, on this member: it may be behind the cluster's. Hold it briefly: while
    /// anyone does, the next command has to copy it first.
    pub fn state(&self) -> Arc<State> {
        self.state.read().expect("applying does not panic").clone()
    }

    /// The last log entry this member applied; changes wake the subscriber.
    pub fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.applied.clone()
    }
}

pub struct StateMachine {
    state: Arc<RwLock<Arc<State>>>,
    applied: watch::Sender<Option<LogId>>,
    membership: StoredMembership,
    store: Store,
}

impl StateMachine {
    /// Empty; openraft fills it from `store`'s snapshot and committed log.
    pub fn new(store: Store) -> (StateMachine, View) {
        let state = Arc::new(RwLock::new(Arc::new(State::default())));
        let (applied, receiver) = watch::channel(None);
        let view = View { state: state.clone(), applied: receiver };
        (StateMachine { state, applied, membership: StoredMembership::default(), store }, view)
    }

    fn apply_batch(&mut self, entries: Vec<EntryResponder<TypeConfig>>) {
        let Some(last) = entries.last().map(|(entry, _)| entry.log_id) else { return };
        let mut answers = Vec::with_capacity(entries.len());
        {
            let mut shared = self.state.write().expect("applying does not panic");
            let state = Arc::make_mut(&mut shared);
            let journalled = state.journal.last_seq();
            for (entry, responder) in entries {
                let outcome = match entry.payload {
                    EntryPayload::Blank => None,
                    EntryPayload::Normal(proposal) => {
                        Some(state.apply(entry.log_id.index, proposal.into_stamped()))
                    }
                    EntryPayload::Membership(members) => {
                        self.membership = StoredMembership::new(Some(entry.log_id), members);
                        None
                    }
                };
                answers.extend(responder.map(|responder| (responder, outcome)));
            }
            if failpoint::is_armed() {
                boundary::after_applying(state, journalled);
            }
        }
        self.applied.send_replace(Some(last));
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
    }
}

/// What a snapshot's bytes say, as JSON.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    state: State,
}

const FORMAT: u32 = 1;

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((*self.applied.borrow(), self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            self.apply_batch(batch.into_iter().collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let state = self.state.read().expect("applying does not panic").clone();
        let meta =
            SnapshotMeta { last_log_id: *self.applied.borrow(), last_membership: self.membership.clone() };
        Builder { state, meta, store: self.store.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> Result<(), io::Error> {
        let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let read: Read = serde_json::from_slice(&data)
            .map_err(|error| damaged(format!("snapshot cannot be read: {error}")))?;
        if read.format != FORMAT {
            return Err(damaged(format!("snapshot has format {}, this version reads {FORMAT}", read.format)));
        }
        self.store.save_snapshot(meta, &data).await?;
        *self.state.write().expect("applying does not panic") = Arc::new(read.state);
        self.membership = meta.last_membership.clone();
        self.applied.send_replace(meta.last_log_id);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.store.read_snapshot().await
    }
}

/// Writes one snapshot while the state machine goes on.
pub struct Builder {
    state: Arc<State>,
    meta: SnapshotMeta,
    store: Store,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let written = Written { format: FORMAT, state: &self.state };
        let data = Bytes::from(serde_json::to_vec(&written)?);
        self.store.save_snapshot(&self.meta, &data).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: data })
    }
}
