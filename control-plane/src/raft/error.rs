//! Why a node did not do what it was asked, and what may have happened all the same.

use std::time::Duration;

use super::data_dir::DataDirError;
use super::types::Member;

/// The leader's id and where it is.
pub type Leader = Option<(u64, Member)>;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("the timers do not fit together: {0}; nothing was started")]
    Settings(#[from] openraft::ConfigError),
    #[error("the log cannot be read: {0}; nothing was started and the data left as it is")]
    Log(#[from] std::io::Error),
    #[error("Raft did not start: {0}")]
    Raft(String),
}

/// Nothing was proposed, unless the variant says that it is unknown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    #[error("this controller is not the leader{}", hint(.leader))]
    NotLeader { leader: Leader },
    #[error("a majority of controllers has not answered for {silent:?}: no command is taken until it does")]
    NoQuorum { silent: Duration },
    #[error(
        "not confirmed by a majority within {waited:?}: it may still be carried out; read the state to know"
    )]
    Unknown { waited: Duration },
    #[error("a command of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("too many commands wait already ({limit}): try again")]
    Busy { limit: usize },
    #[error("this controller is stopping: {why}")]
    Stopped { why: String },
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("this controller is not the leader{}", hint(.leader))]
    NotLeader { leader: Leader },
    #[error(
        "no majority of controllers confirmed the leader within {waited:?}: only a stale read is possible"
    )]
    NoQuorum { waited: Duration },
    #[error("this controller is stopping: {why}")]
    Stopped { why: String },
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum MembersError {
    #[error("this controller is not the leader{}", hint(.leader))]
    NotLeader { leader: Leader },
    #[error(
        "not confirmed by a majority within {waited:?}: it may still be carried out; read the members to know"
    )]
    Unknown { waited: Duration },
    #[error("the members were not changed: {why}")]
    Refused { why: String },
    #[error("this controller is stopping: {why}")]
    Stopped { why: String },
}

fn hint(leader: &Leader) -> String {
    match leader {
        Some((id, member)) => format!("; that is member {id} at {}", member.grpc),
        None => "; there is none known at the moment".into(),
    }
}
