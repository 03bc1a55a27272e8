//! The types openraft is filled with, named once.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use decision::command::{Outcome, Stamped};

use super::runtime::Runtime;

openraft::declare_raft_types!(
    /// What Regent's log holds and who its members are.
    pub TypeConfig:
        D = Proposal,
        R = Option<Outcome>,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = Runtime,
);

/// A member of the Raft group, as the log itself names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The region it stands in.
    pub region: String,
    /// `host:port` where the other controllers reach it.
    pub grpc: String,
    /// Votes and stores the log, but hosts nothing. To Raft it is a voter like any other.
    #[serde(default)]
    pub witness: bool,
}

/// A stamped command in the log, with its JSON: encoded once for this member's disk and every follower.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Stamped", into = "Stamped")]
pub struct Proposal {
    stamped: Arc<Stamped>,
    json: Bytes,
}

impl Proposal {
    pub fn new(stamped: Stamped) -> Proposal {
        let json = serde_json::to_vec(&stamped).expect("commands have only string keys");
        Proposal { stamped: Arc::new(stamped), json: json.into() }
    }

    /// # Errors
    /// `json` is not a stamped command.
    pub fn read(json: Bytes) -> serde_json::Result<Proposal> {
        Ok(Proposal { stamped: Arc::new(serde_json::from_slice(&json)?), json })
    }

    pub fn json(&self) -> &Bytes {
        &self.json
    }

    pub fn into_stamped(self) -> Stamped {
        Arc::unwrap_or_clone(self.stamped)
    }
}

impl From<Stamped> for Proposal {
    fn from(stamped: Stamped) -> Proposal {
        Proposal::new(stamped)
    }
}

impl From<Proposal> for Stamped {
    fn from(proposal: Proposal) -> Stamped {
        proposal.into_stamped()
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Proposal) -> bool {
        self.stamped == other.stamped
    }
}

/// openraft wants this for its own traces; the journal explains commands better.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.stamped, f)
    }
}

pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, bytes::Bytes>;
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
pub type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;
