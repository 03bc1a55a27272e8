//! One member, running.

use std::sync::Arc;
use std::time::Duration;

use decision::command::{Outcome, Stamped};
use decision::state::State;
use openraft::async_runtime::WatchReceiver;
use openraft::error::{
    ClientWriteError, Fatal, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError,
};
use openraft::impls::ProgressResponder;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::raft::ClientWriteResponse;
use openraft::{Instant, ReadPolicy};
use tokio::sync::Semaphore;
use wire::proto::regent::raft::v1::raft_server::RaftServer;

use super::client::{Dial, MESSAGE_MAX, Patience, Peers};
use super::data_dir::{DataDirError, Identity, claim};
use super::disk::{Disk, Fsync, SledDisk, fdatasync};
use super::error::{Leader, ProposeError, ReadError, StartError};
use super::log_store::Store;
use super::server::Service;
use super::settings::Settings;
use super::state_machine::{StateMachine, View};
use super::status::{Status, StatusWatch};
use super::types::{Proposal, Raft, TypeConfig};
use super::writer::Commit;

/// The largest command, as JSON.
const COMMAND_MAX: usize = 8 * 1024 * 1024;
/// Commands that may wait for their outcome at once.
const PROPOSALS_MAX: usize = 4_096;

/// How soon a leader without a lease looks again.
const LEASE_RETRY: Duration = Duration::from_millis(5);

type Written = ClientWriteResponse<TypeConfig>;
type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// A handle; clones are the same member.
#[derive(Clone)]
pub struct Node {
    pub(super) raft: Raft,
    pub(super) settings: Arc<Settings>,
    pub(super) peers: Peers,
    view: View,
    permits: Arc<Semaphore>,
}

/// A command's place in the log and what the state made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    pub index: u64,
    pub outcome: Outcome,
}

/// Opens the data folder and starts the member on it. It serves once [`Node::service`] is served, and
/// waits for [`Node::initialize`] or for a leader that adds it.
///
/// # Errors
/// See [`StartError`]: nothing was started.
pub async fn start(settings: Settings, dial: Dial) -> Result<Node, StartError> {
    settings.config()?;
    let disk = open_disk(&settings, fdatasync())?;
    let store = open_store(&settings, Arc::new(disk), Commit::Grouped)?;
    start_on(settings, store, dial).await
}

/// Claims and opens the data folder; `fsync` is what makes bytes durable.
///
/// # Errors
/// The folder is another's, in use or damaged.
pub fn open_disk(settings: &Settings, fsync: Fsync) -> Result<SledDisk, StartError> {
    let identity = identity(settings);
    let dir = claim(&settings.data_dir, &identity)?;
    Ok(SledDisk::open(dir, fsync).map_err(|error| data_error(settings, error))?)
}

fn identity(settings: &Settings) -> Identity {
    Identity { cluster_id: settings.cluster_id.clone(), member_id: settings.member_id }
}

fn data_error(settings: &Settings, error: std::io::Error) -> DataDirError {
    let dir = settings.data_dir.clone();
    match error.kind() {
        std::io::ErrorKind::InvalidData => DataDirError::Damaged { dir, why: error.to_string() },
        _ => DataDirError::Io { dir, source: error },
    }
}

/// What a member remembers, on a disk handed in. The disk is let go of with the last clone.
///
/// # Errors
/// The disk is damaged, or cannot be read.
pub fn open_store(settings: &Settings, disk: Arc<dyn Disk>, commit: Commit) -> Result<Store, StartError> {
    Ok(Store::open(disk, commit).map_err(|error| data_error(settings, error))?)
}

/// As [`start`], on a store that is open.
///
/// # Errors
/// See [`StartError`]: nothing was started.
pub async fn start_on(settings: Settings, store: Store, dial: Dial) -> Result<Node, StartError> {
    let config = Arc::new(settings.config()?);
    let (machine, view) = StateMachine::new(store.clone());
    let patience = Patience {
        append: settings.append_patience(),
        snapshot: settings.snapshot_patience(),
        silence: settings.silence_patience(),
    };
    let peers = Peers::new(settings.cluster_id.clone(), dial, patience);
    let raft = Raft::new(settings.member_id, config, peers.clone(), store, machine)
        .await
        .map_err(|fatal| StartError::Raft(fatal.to_string()))?;
    let permits = Arc::new(Semaphore::new(PROPOSALS_MAX));
    Ok(Node { raft, settings: Arc::new(settings), peers, view, permits })
}

impl Node {
    pub fn id(&self) -> u64 {
        self.settings.member_id
    }

    /// To be served to the other controllers, and to them only.
    pub fn service(&self) -> RaftServer<Service> {
        RaftServer::new(Service { raft: self.raft.clone(), identity: Arc::new(identity(&self.settings)) })
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    }

    /// The state on this member, which may be behind the cluster's: a stale read.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Leader, term, log and members as this member knows them.
    pub fn status(&self) -> Status {
        self.watch_status().current()
    }

    pub fn watch_status(&self) -> StatusWatch {
        StatusWatch::new(&self.raft)
    }

    pub fn is_leader(&self) -> bool {
        // openraft's own `is_leader` is already true of a candidate that voted for itself.
        self.raft.as_leader().is_ok()
    }

    pub fn leader(&self) -> Leader {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        let member = metrics.membership_config.membership().get_node(&id)?;
        Some((id, member.clone()))
    }

    /// Returns when the command is committed and applied here.
    ///
    /// # Errors
    /// See [`ProposeError`]. Dropping the call leaves the outcome unknown.
    pub async fn propose(&self, stamped: Stamped, within: Duration) -> Result<Committed, ProposeError> {
        self.propose_in(None, stamped, within).await
    }

    /// The same, if this member leads this term, and not another by now.
    ///
    /// # Errors
    /// See [`Node::propose`].
    pub async fn propose_in(
        &self,
        term: Option<u64>,
        stamped: Stamped,
        within: Duration,
    ) -> Result<Committed, ProposeError> {
        let proposal = Proposal::new(stamped);
        let bytes = proposal.json().len();
        if bytes > COMMAND_MAX {
            return Err(ProposeError::TooLarge { bytes, limit: COMMAND_MAX });
        }
        // Without a majority the log would only grow, with commands whose senders gave up long ago.
        if let Some(silent) = self.quorum_silent() {
            return Err(ProposeError::NoQuorum { silent });
        }
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(ProposeError::Busy { limit: PROPOSALS_MAX });
        };
        let written = async {
            loop {
                match self.write(proposal.clone(), term).await {
                    // Nothing was appended: its lease ran out, or it was elected just now and has none yet.
                    Err(error) if lease_expired(&error) && self.quorum_silent().is_none() => {
                        tokio::time::sleep(LEASE_RETRY).await;
                    }
                    written => break written,
                }
            }
        };
        match tokio::time::timeout(within, written).await {
            Err(_) => Err(ProposeError::Unknown { waited: within }),
            Ok(Err(error)) if lease_expired(&error) => {
                Err(ProposeError::NoQuorum { silent: self.quorum_silent().unwrap_or_default() })
            }
            Ok(Err(error)) => Err(propose_error(error, within)),
            Ok(Ok(written)) => match written.data {
                Some(outcome) => Ok(Committed { index: written.log_id.index, outcome }),
                None => Err(ProposeError::Stopped { why: "the entry committed was not the command".into() }),
            },
        }
    }

    async fn write(&self, proposal: Proposal, term: Option<u64>) -> Result<Written, WriteError> {
        let Some(term) = term else { return self.raft.client_write(proposal).await };
        let (responder, written) = ProgressResponder::complete_only();
        let leader = LeaderId { term, node_id: self.id() };
        self.raft.write(proposal).with_leader(leader).responder(responder).await?;
        match written.await {
            Ok(written) => written.map_err(RaftError::APIError),
            Err(_) => Err(RaftError::Fatal(Fatal::Stopped)),
        }
    }

    /// For how long no majority has answered this leader, when that is too long.
    pub fn quorum_silent(&self) -> Option<Duration> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader != Some(self.id()) {
            return None;
        }
        let silent = metrics.last_quorum_acked.as_ref()?.elapsed();
        if silent <= self.settings.quorum_patience() {
            return None;
        }
        let voters = metrics.membership_config.membership().voter_ids().count();
        (voters > 1).then_some(silent)
    }

    /// The state, after this leader proved by a quorum round begun now that it still leads (ReadIndex,
    /// Raft thesis §6.4): whatever was acknowledged before the call is in it (S7).
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, within: Duration) -> Result<Arc<State>, ReadError> {
        self.confirm_leadership(within).await?;
        Ok(self.view.state())
    }

    /// Proves that this member leads, by a quorum round begun after the call, and gives the index that
    /// any member must have applied ([`Node::wait_applied`]) to answer a read of this moment.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn confirm_leadership(&self, within: Duration) -> Result<u64, ReadError> {
        match tokio::time::timeout(within, self.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await {
            Err(_) => Err(ReadError::NoQuorum { waited: within }),
            Ok(Ok(read)) => Ok(read.log_id().index),
            Ok(Err(RaftError::Fatal(fatal))) => Err(ReadError::Stopped { why: fatal.to_string() }),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to)))) => {
                Err(ReadError::NotLeader { leader: leader_of(to) })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(ReadError::NoQuorum { waited: within })
            }
        }
    }

    /// Returns whether this member has applied the log up to `index`, waiting at most `within`.
    pub async fn wait_applied(&self, index: u64, within: Duration) -> bool {
        let mut applied = self.view.applied();
        let reached = applied.wait_for(|id| id.is_some_and(|id| id.index >= index));
        matches!(tokio::time::timeout(within, reached).await, Ok(Ok(_)))
    }

    /// Ends this member: a leader first hands over, so that the others need not wait for its lease to
    /// run out. Then its files can be opened by another.
    pub async fn shutdown(&self, hand_over_within: Duration) {
        if self.is_leader() {
            let successor = self.hand_over(None, hand_over_within).await;
            tracing::info!(?successor, "handed leadership over");
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not end cleanly");
        }
    }
}

fn lease_expired(error: &WriteError) -> bool {
    matches!(
        error,
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) if to.reason == ForwardReason::LeaseExpired
    )
}

fn propose_error(error: WriteError, waited: Duration) -> ProposeError {
    match error {
        RaftError::Fatal(fatal) => ProposeError::Stopped { why: fatal.to_string() },
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            ProposeError::NotLeader { leader: leader_of(to) }
        }
        // Another leader replaced the entry here; whether a majority had it before is not known.
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ProposeError::Unknown { waited },
        RaftError::APIError(other) => ProposeError::Stopped { why: other.to_string() },
    }
}

pub(super) fn leader_of(to: ForwardToLeader<TypeConfig>) -> Leader {
    Some((to.leader_id?, to.leader_node?))
}
