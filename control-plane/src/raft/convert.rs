//! openraft's types to the wire and back. An entry on disk is the same message as on the wire.

use openraft::EntryPayload;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderResponse,
};
use wire::proto::regent::raft::v1 as pb;

use super::types::{Entry, LogId, Proposal, TypeConfig, Vote};

/// A message that no controller of this protocol would send, or bytes no controller wrote.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("not a message of this protocol: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("{0} cannot be read: {1}")]
    Json(&'static str, serde_json::Error),
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl From<DecodeError> for tonic::Status {
    fn from(error: DecodeError) -> Self {
        tonic::Status::invalid_argument(error.to_string())
    }
}

pub(super) fn log_id(id: &LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, member: id.leader_id.node_id, index: id.index }
}

pub(super) fn read_log_id(id: &pb::LogId) -> LogId {
    LogId { leader_id: LeaderId { term: id.term, node_id: id.member }, index: id.index }
}

pub(super) fn vote(vote: &Vote) -> pb::Ballot {
    pb::Ballot { term: vote.leader_id.term, member: vote.leader_id.node_id, committed: vote.committed }
}

pub(super) fn read_vote(vote: Option<&pb::Ballot>) -> Result<Vote, DecodeError> {
    let vote = vote.ok_or(DecodeError::Missing("vote"))?;
    let leader_id = LeaderId { term: vote.term, node_id: vote.member };
    Ok(Vote { leader_id, committed: vote.committed })
}

pub(super) fn entry(entry: &Entry) -> pb::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(proposal) => Some(pb::entry::Payload::Command(proposal.json().clone())),
        EntryPayload::Membership(members) => {
            let json = serde_json::to_vec(&members).expect("members have only string keys");
            Some(pb::entry::Payload::Membership(json.into()))
        }
    };
    pb::Entry { id: Some(log_id(&entry.log_id)), payload }
}

pub(super) fn read_entry(entry: &pb::Entry) -> Result<Entry, DecodeError> {
    let id = entry.id.as_ref().ok_or(DecodeError::Missing("entry id"))?;
    let payload = match &entry.payload {
        None => EntryPayload::Blank,
        Some(pb::entry::Payload::Command(json)) => {
            EntryPayload::Normal(Proposal::read(json.clone()).map_err(|e| DecodeError::Json("command", e))?)
        }
        Some(pb::entry::Payload::Membership(json)) => EntryPayload::Membership(
            serde_json::from_slice(json).map_err(|e| DecodeError::Json("membership", e))?,
        ),
    };
    Ok(Entry { log_id: read_log_id(id), payload })
}

pub(super) fn append(request: &AppendEntriesRequest<TypeConfig>) -> pb::AppendRequest {
    pb::AppendRequest {
        vote: Some(vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id),
        entries: request.entries.iter().map(entry).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id),
    }
}

pub(super) fn read_append(
    request: &pb::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
    Ok(AppendEntriesRequest {
        vote: read_vote(request.vote.as_ref())?,
        prev_log_id: request.previous.as_ref().map(read_log_id),
        entries: request.entries.iter().map(read_entry).collect::<Result<_, _>>()?,
        leader_commit: request.leader_commit.as_ref().map(read_log_id),
    })
}

pub(super) fn appended(result: &StreamAppendResult<TypeConfig>) -> pb::AppendResponse {
    use pb::append_response::{Matched, Result as Answer};
    let answer = match result {
        Ok(last) => Answer::Matched(Matched { last: last.as_ref().map(log_id) }),
        Err(StreamAppendError::Conflict(id)) => Answer::Conflict(log_id(id)),
        Err(StreamAppendError::HigherVote(higher)) => Answer::HigherVote(vote(higher)),
    };
    pb::AppendResponse { result: Some(answer) }
}

pub(super) fn read_appended(
    response: &pb::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, DecodeError> {
    use pb::append_response::Result as Answer;
    Ok(match response.result.as_ref().ok_or(DecodeError::Missing("result"))? {
        Answer::Matched(matched) => Ok(matched.last.as_ref().map(read_log_id)),
        Answer::Conflict(id) => Err(StreamAppendError::Conflict(read_log_id(id))),
        Answer::HigherVote(higher) => Err(StreamAppendError::HigherVote(read_vote(Some(higher))?)),
    })
}

pub(super) fn transferred(response: &TransferLeaderResponse<TypeConfig>) -> pb::TransferLeaderResponse {
    use pb::transfer_leader_response::{NotFlushed, Ok as Done, Result as Answer, VoteChanged};
    let answer = match response {
        Ok(()) => Answer::Ok(Done {}),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            Answer::VoteChanged(VoteChanged { expected: Some(vote(expected)), actual: Some(vote(actual)) })
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Answer::NotFlushed(NotFlushed {
            expected: expected.as_ref().map(log_id),
            actual: actual.as_ref().map(log_id),
        }),
    };
    pb::TransferLeaderResponse { result: Some(answer) }
}

pub(super) fn read_transferred(
    response: &pb::TransferLeaderResponse,
) -> Result<TransferLeaderResponse<TypeConfig>, DecodeError> {
    use pb::transfer_leader_response::Result as Answer;
    Ok(match response.result.as_ref().ok_or(DecodeError::Missing("result"))? {
        Answer::Ok(_) => Ok(()),
        Answer::VoteChanged(votes) => Err(TransferLeaderError::VoteChanged {
            expected: read_vote(votes.expected.as_ref())?,
            actual: read_vote(votes.actual.as_ref())?,
        }),
        Answer::NotFlushed(ids) => Err(TransferLeaderError::LogNotFlushed {
            expected: ids.expected.as_ref().map(read_log_id),
            actual: ids.actual.as_ref().map(read_log_id),
        }),
    })
}
