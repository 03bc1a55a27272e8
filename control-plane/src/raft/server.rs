//! Answering other controllers: the gRPC face of openraft.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use tonic::{Request, Response, Status, Streaming};
use wire::identity::Identity as Certified;
use wire::listen::Peer;
use wire::proto::regent::raft::v1 as pb;
use wire::proto::regent::raft::v1::raft_server;

use super::client::{CLUSTER_HEADER, TO_HEADER};
use super::convert;
use super::data_dir::Identity;
use super::standing::read_state;
use super::types::{Raft, Snapshot, SnapshotMeta, TypeConfig};

/// A snapshot may not take more memory than this on its way in.
const SNAPSHOT_MAX: u64 = 1 << 30;

/// That the caller is a controller of this cluster is decided before this is reached; that it speaks
/// for no other member than itself is decided here, where it is known for whom a message speaks.
#[derive(Clone)]
pub struct Service {
    pub(super) raft: Raft,
    pub(super) identity: Arc<Identity>,
}

impl Service {
    /// Refuses what was meant for another cluster or member, such as one whose address this now is, and
    /// gives as whom the caller may speak.
    fn check<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let header = |name| request.metadata().get_bin(name).and_then(|value| value.to_bytes().ok());
        if header(CLUSTER_HEADER).as_deref() != Some(self.identity.cluster_id.as_bytes()) {
            let own = &self.identity.cluster_id;
            return Err(Status::failed_precondition(format!("this controller belongs to cluster \"{own}\"")));
        }
        if header(TO_HEADER).as_deref() != Some(&self.identity.member_id.to_be_bytes()) {
            let own = self.identity.member_id;
            return Err(Status::failed_precondition(format!("this controller is member {own}")));
        }
        Caller::of(request.extensions())
    }
}

/// As whom a caller may speak.
#[derive(Clone, Copy)]
enum Caller {
    /// The one its certificate names.
    Member(u64),
    /// Whoever it says it is; see [`uncertified`].
    Uncertified,
}

/// In the extensions of a request that [`uncertified`] let in.
#[derive(Clone)]
struct LetIn;

/// An interceptor in front of [`Node::service`](super::Node::service), for members without TLS in tests
/// and benchmarks: it lets callers speak for whom they like. Where it is not, no certificate means no.
///
/// # Errors
/// None; an interceptor has this signature.
pub fn uncertified(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(LetIn);
    Ok(request)
}

impl Caller {
    fn of(extensions: &tonic::Extensions) -> Result<Caller, Status> {
        match extensions.get::<Peer>().map(|peer| &peer.id.identity) {
            Some(Certified::Controller { member, .. }) => Ok(Caller::Member(*member)),
            Some(other) => Err(Status::permission_denied(format!("{other} is no member"))),
            None if extensions.get::<LetIn>().is_some() => Ok(Caller::Uncertified),
            None => Err(Status::permission_denied("only a member with its certificate is listened to")),
        }
    }

    /// Refuses a message that speaks for another member. One that names nobody is refused when it is read.
    fn speaks_for(self, ballot: Option<&pb::Ballot>) -> Result<(), Status> {
        match (self, ballot) {
            (Caller::Member(certified), Some(ballot)) if ballot.member != certified => {
                let claimed = ballot.member;
                tracing::warn!(certified, claimed, "refused a member that speaks for another");
                Err(Status::permission_denied(format!(
                    "the certificate is that of member {certified}, which cannot speak for member {claimed}"
                )))
            }
            _ => Ok(()),
        }
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this controller is stopping: {error}"))
}

fn read_vote_request(message: &pb::VoteRequest) -> Result<VoteRequest<TypeConfig>, Status> {
    let mut request = VoteRequest::new(
        convert::read_vote(message.vote.as_ref())?,
        message.last_log.as_ref().map(convert::read_log_id),
    );
    request.leadership_transfer = message.leadership_transfer;
    Ok(request)
}

fn vote_response(response: openraft::raft::VoteResponse<TypeConfig>) -> Response<pb::VoteResponse> {
    Response::new(pb::VoteResponse {
        vote: Some(convert::vote(&response.vote)),
        granted: response.vote_granted,
        last_log: response.last_log_id.as_ref().map(convert::log_id),
    })
}

#[tonic::async_trait]
impl raft_server::Raft for Service {
    type AppendStream = BoxStream<'static, Result<pb::AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let caller = self.check(&request)?;
        // What cannot be read, or is another's to say, ends the stream, after the answers to what came before it.
        let broken = Arc::new(Mutex::new(None));
        let noted = broken.clone();
        let requests = request
            .into_inner()
            .map(move |message| {
                let message = message?;
                caller.speaks_for(message.vote.as_ref())?;
                Ok(convert::read_append(&message)?)
            })
            .map_err(move |status| *noted.lock().expect("no panic under this lock") = Some(status))
            .take_while(|read| std::future::ready(read.is_ok()))
            .filter_map(|read| std::future::ready(read.ok()));
        let answers = self.raft.stream_append(requests).map(|answer| match answer {
            Ok(result) => Ok(convert::appended(&result)),
            Err(fatal) => Err(stopped(fatal)),
        });
        let end = stream::once(async move { broken.lock().expect("no panic under this lock").take() })
            .filter_map(|status| std::future::ready(status.map(Err)));
        Ok(Response::new(answers.chain(end).boxed()))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        self.check(&request)?.speaks_for(request.get_ref().vote.as_ref())?;
        let answer = self.raft.vote(read_vote_request(request.get_ref())?).await.map_err(stopped)?;
        Ok(vote_response(answer))
    }

    async fn pre_vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        self.check(&request)?.speaks_for(request.get_ref().vote.as_ref())?;
        let answer = self.raft.pre_vote(read_vote_request(request.get_ref())?).await.map_err(stopped)?;
        Ok(vote_response(answer))
    }

    async fn read_vote(
        &self,
        request: Request<pb::ReadVoteRequest>,
    ) -> Result<Response<pb::ReadVoteResponse>, Status> {
        self.check(&request)?;
        let vote = read_state(&self.raft, |state| convert::vote(state.vote_ref())).await;
        let vote = vote.ok_or_else(|| stopped("it takes no more questions"))?;
        Ok(Response::new(pb::ReadVoteResponse { vote: Some(vote) }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let caller = self.check(&request)?;
        let mut chunks = request.into_inner();
        let Some(pb::snapshot_chunk::Part::Head(head)) = chunks.message().await?.and_then(|chunk| chunk.part)
        else {
            return Err(Status::invalid_argument("a snapshot begins with its head"));
        };
        caller.speaks_for(head.vote.as_ref())?;
        if head.total_bytes > SNAPSHOT_MAX {
            let (total, limit) = (head.total_bytes, SNAPSHOT_MAX);
            return Err(Status::resource_exhausted(format!("a snapshot of {total} bytes is over {limit}")));
        }
        let meta = SnapshotMeta {
            last_log_id: head.last_log.as_ref().map(convert::read_log_id),
            last_membership: serde_json::from_slice(&head.membership)
                .map_err(|error| convert::DecodeError::Json("membership", error))?,
        };
        let mut data = BytesMut::new();
        while let Some(chunk) = chunks.message().await? {
            let Some(pb::snapshot_chunk::Part::Data(piece)) = chunk.part else {
                return Err(Status::invalid_argument("a snapshot has one head"));
            };
            if (data.len() + piece.len()) as u64 > head.total_bytes {
                return Err(Status::invalid_argument("a snapshot longer than its head says"));
            }
            data.extend_from_slice(&piece);
        }
        if data.len() as u64 != head.total_bytes {
            return Err(Status::invalid_argument("a snapshot shorter than its head says"));
        }
        let snapshot = Snapshot { meta, snapshot: data.freeze() };
        let vote = convert::read_vote(head.vote.as_ref())?;
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(Response::new(pb::SnapshotResponse { vote: Some(convert::vote(&answer.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let caller = self.check(&request)?;
        let message = request.get_ref();
        caller.speaks_for(message.from.as_ref())?;
        let request = TransferLeaderRequest::new(
            convert::read_vote(message.from.as_ref())?,
            message.to,
            message.last_log.as_ref().map(convert::read_log_id),
        );
        let answer = self.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Response::new(convert::transferred(&answer)))
    }
}
