//! Calling other controllers: openraft's network over gRPC.
//!
//! A replication session is one stream, so that a leader sends the next entries while the last ones
//! are still on their way or being synced: at 100 ms round trip that is the difference between ten
//! batches a second and as many as the disks take.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt};
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::Instant;
use tonic::metadata::{BinaryMetadataValue, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use wire::proto::regent::raft::v1 as pb;
use wire::proto::regent::raft::v1::raft_client::RaftClient;

use super::convert;
use super::types::{Member, Snapshot, TypeConfig, Vote};

/// Opens a lazy channel to a member. Handed in: it knows TLS and which network.
pub type Dial = Arc<dyn Fn(u64, &Member) -> Channel + Send + Sync>;

pub(super) const CLUSTER_HEADER: &str = "regent-cluster-bin";
pub(super) const TO_HEADER: &str = "regent-to-bin";
/// Far above any one request of this protocol; snapshots travel in pieces.
pub(super) const MESSAGE_MAX: usize = 64 * 1024 * 1024;
const SNAPSHOT_PIECE: usize = 256 * 1024;
/// A restarted peer is found again within this, so it does not grow.
const RETRY: Duration = Duration::from_millis(50);
/// After a member has refused a question, which it does at once.
const ASK_AGAIN: Duration = Duration::from_millis(20);

type Error = RPCError<TypeConfig>;

/// How long answers may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For an append: a round trip and the peer's disk.
    pub append: Duration,
    /// For a whole snapshot.
    pub snapshot: Duration,
    /// For any answer at all on a connection, before it is held for dead and opened anew. Above the three
    /// round trips after which a new one answers first, or none would ever be opened in time.
    pub silence: Duration,
}

/// Makes clients for members. Clones share their connections.
#[derive(Clone)]
pub(super) struct Peers {
    pub cluster_id: String,
    pub dial: Dial,
    pub patience: Patience,
    links: Arc<Mutex<Links>>,
}

/// Two connections to one member: what was lost on one holds up all that is behind it (TCP), and the
/// other goes on.
type Pair = [Link; 2];
type Links = HashMap<(u64, String), Arc<Pair>>;

impl Peers {
    pub(super) fn new(cluster_id: String, dial: Dial, patience: Patience) -> Peers {
        Peers { cluster_id, dial, patience, links: Arc::default() }
    }

    fn pair(&self, target: u64, member: &Member) -> Arc<Pair> {
        Arc::new(std::array::from_fn(|_| {
            let (dial, member) = (self.dial.clone(), member.clone());
            let dial = Box::new(move || dial(target, &member));
            let line = Mutex::new(Line { channel: dial(), generation: 0, answered: None, silent: None });
            Link { line, dial, patience: self.patience.silence }
        }))
    }

    /// Over the connections that all calls to this member share.
    pub(super) fn to(&self, target: u64, member: &Member) -> Client {
        let key = (target, member.grpc.clone());
        let mut links = self.links.lock().expect("no panic under this lock");
        // An older address of the same member is of no more use.
        links.retain(|known, _| known.0 != target || *known == key);
        let pair = links.entry(key).or_insert_with(|| self.pair(target, member)).clone();
        drop(links);
        self.client(target, pair)
    }

    fn client(&self, target: u64, pair: Arc<Pair>) -> Client {
        let cluster = MetadataValue::from_bytes(self.cluster_id.as_bytes());
        let to = MetadataValue::from_bytes(&target.to_be_bytes());
        Client { pair, cluster, to, patience: self.patience }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Client;

    async fn new_client(&mut self, target: u64, member: &Member) -> Client {
        self.to(target, member)
    }

    /// On connections of its own, so that heartbeats need not wait behind a snapshot.
    async fn new_snapshot_client(&mut self, target: u64, member: &Member) -> Client {
        self.client(target, self.pair(target, member))
    }
}

/// A connection to one member, opened anew when it went silent: waiting for TCP to notice, or for
/// its doubled retransmission timers after a partition healed, would take many seconds.
struct Link {
    line: Mutex<Line>,
    dial: Box<dyn Fn() -> Channel + Send + Sync>,
    patience: Duration,
}

struct Line {
    channel: Channel,
    /// How often it was opened anew.
    generation: u64,
    /// When an answer came last.
    answered: Option<Instant>,
    silent: Option<Silent>,
}

/// Of calls whose answer was not there in time, since the last answer.
#[derive(Clone, Copy)]
struct Silent {
    since: Instant,
    last: Instant,
}

impl Link {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no panic under this lock")
    }

    fn connection(&self) -> Connection<'_> {
        let line = self.line();
        Connection { link: self, channel: line.channel.clone(), generation: line.generation }
    }
}

/// A link as it is when a call begins. What comes of the call says nothing of a later one.
struct Connection<'a> {
    link: &'a Link,
    channel: Channel,
    generation: u64,
}

impl Connection<'_> {
    fn stub(&self) -> RaftClient<Channel> {
        RaftClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX)
    }

    fn line(&self) -> Option<MutexGuard<'_, Line>> {
        Some(self.link.line()).filter(|line| line.generation == self.generation)
    }

    fn answered(&self) {
        if let Some(mut line) = self.line() {
            (line.answered, line.silent) = (Some(Instant::now()), None);
        }
    }

    fn missed(&self) {
        let Some(mut line) = self.line() else { return };
        let last = Instant::now();
        let since = line.silent.map_or(last, |silent| silent.since);
        line.silent = Some(Silent { since, last });
        if last - since >= self.link.patience {
            drop(line);
            self.open_anew();
        }
    }

    /// What came of a call: a peer that refuses has answered, a connection that fails has not.
    fn came<T>(&self, answer: &Result<T, Status>) {
        use tonic::Code::{Cancelled, Internal, Unavailable, Unknown};
        match answer {
            Err(status) if matches!(status.code(), Cancelled | Internal | Unavailable | Unknown) => {
                self.missed();
            }
            _ => self.answered(),
        }
    }

    fn open_anew(&self) {
        if let Some(mut line) = self.line() {
            let channel = (self.link.dial)();
            *line = Line { channel, generation: self.generation + 1, answered: None, silent: None };
        }
    }
}

/// Calls one member.
pub(super) struct Client {
    pair: Arc<Pair>,
    cluster: BinaryMetadataValue,
    to: BinaryMetadataValue,
    patience: Patience,
}

impl Client {
    /// The one that answered last, of those that answer; where none does, each in turn.
    fn connection(&self) -> Connection<'_> {
        let worth = |link: &&Link| {
            let line = link.line();
            (line.silent.map(|silent| silent.last), Reverse(line.answered))
        };
        self.pair.iter().min_by_key(worth).expect("there are two").connection()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert_bin(CLUSTER_HEADER, self.cluster.clone());
        request.metadata_mut().insert_bin(TO_HEADER, self.to.clone());
        request
    }

    async fn ask<T>(
        &self,
        connection: &Connection<'_>,
        within: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        let mut call = Unanswered::new(connection, call);
        match tokio::time::timeout(within, &mut call.future).await {
            Ok(answer) => {
                call.done(&answer);
                answer.map(tonic::Response::into_inner).map_err(refused)
            }
            Err(_) => Err(silent(within)),
        }
    }
}

/// Counts a call that is dropped without an answer against its connection.
struct Unanswered<'a, F> {
    connection: &'a Connection<'a>,
    future: std::pin::Pin<Box<F>>,
    pending: bool,
}

impl<'a, F> Unanswered<'a, F> {
    fn new(connection: &'a Connection<'a>, future: F) -> Self {
        Unanswered { connection, future: Box::pin(future), pending: true }
    }

    fn done<T>(&mut self, answer: &Result<T, Status>) {
        self.pending = false;
        self.connection.came(answer);
    }
}

impl<F> Drop for Unanswered<'_, F> {
    fn drop(&mut self) {
        if self.pending {
            self.connection.missed();
        }
    }
}

fn refused(status: Status) -> Error {
    let why = wire::connect::with_causes(&status);
    RPCError::Unreachable(Unreachable::from_string(why))
}

fn silent(within: Duration) -> Error {
    RPCError::Unreachable(Unreachable::from_string(format!("no answer within {within:?}")))
}

fn unreadable(error: convert::DecodeError) -> Error {
    RPCError::Unreachable(Unreachable::from_string(error))
}

impl NetBackoff<TypeConfig> for Client {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY)))
    }
}

/// When requests were sent that have no answer yet.
type Waiting = Arc<Mutex<VecDeque<Instant>>>;

struct Answers<'s> {
    responses: Streaming<pb::AppendResponse>,
    waiting: Waiting,
    connection: Connection<'s>,
    patience: Duration,
}

impl NetStreamAppend<TypeConfig> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, Error>>, Error>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let mut input = input;
            // openraft waits out its backoff where it is asked for the first request. A peer that refuses
            // connections would otherwise be tried again at once, thousands of times a second.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let waiting = Waiting::default();
            let sent = waiting.clone();
            let requests = stream::iter([first]).chain(input).map(move |request| {
                sent.lock().expect("no panic under this lock").push_back(Instant::now());
                convert::append(&request)
            });
            let (connection, patience) = (self.connection(), self.patience.append);
            let mut stub = connection.stub();
            let responses = self.ask(&connection, patience, stub.append(self.request(requests))).await?;
            let answers = Answers { responses, waiting, connection, patience };
            Ok(stream::unfold(Some(answers), next_answer).boxed())
        })
    }
}

async fn next_answer(
    answers: Option<Answers<'_>>,
) -> Option<(Result<StreamAppendResult<TypeConfig>, Error>, Option<Answers<'_>>)> {
    let mut answers = answers?;
    let (connection, patience) = (&answers.connection, answers.patience);
    let answer = loop {
        let idle = answers.waiting.lock().expect("no panic under this lock").is_empty();
        let mut next = Unanswered::new(connection, answers.responses.message());
        // Who asked nothing is owed nothing: a stream that just waits for entries counts for neither side.
        next.pending = !idle;
        match tokio::time::timeout(patience, &mut next.future).await {
            Ok(answer) => {
                next.done(&answer);
                break answer.map_err(refused);
            }
            Err(_) => {
                next.pending = false;
                drop(next);
                let oldest = answers.waiting.lock().expect("no panic under this lock").front().copied();
                if oldest.is_some_and(|sent| sent.elapsed() >= patience) {
                    // Entries were sent and nothing came back: this is evidence enough by itself.
                    connection.open_anew();
                    break Err(silent(patience));
                }
            }
        }
    };
    match answer {
        Ok(None) if answers.waiting.lock().expect("no panic under this lock").is_empty() => None,
        // Ended by the peer, as one that is stopping does; its successor has another connection.
        Ok(None) => {
            answers.connection.missed();
            let why = "the stream ended before the answer";
            Some((Err(RPCError::Unreachable(Unreachable::from_string(why))), None))
        }
        Ok(Some(response)) => {
            answers.waiting.lock().expect("no panic under this lock").pop_front();
            match convert::read_appended(&response) {
                Ok(result) => Some((Ok(result), Some(answers))),
                Err(error) => Some((Err(unreadable(error)), None)),
            }
        }
        Err(error) => Some((Err(error), None)),
    }
}

impl Client {
    fn vote_message(rpc: &VoteRequest<TypeConfig>) -> pb::VoteRequest {
        pb::VoteRequest {
            vote: Some(convert::vote(&rpc.vote)),
            last_log: rpc.last_log_id.as_ref().map(convert::log_id),
            leadership_transfer: rpc.leadership_transfer,
        }
    }

    /// The vote that this member holds. Asked again and again, on the other connection where one is slow: a
    /// single question would wait as long as TCP for what was lost.
    pub(super) async fn read_vote(&self, again_after: Duration, within: Duration) -> Result<Vote, Error> {
        let mut asked = FuturesUnordered::new();
        let answer = async {
            loop {
                asked.push(self.ask_vote(self.connection(), again_after));
                let mut again_at = Instant::now() + again_after;
                loop {
                    tokio::select! {
                        Some(answer) = asked.next() => match answer {
                            Ok(vote) => return vote,
                            Err(_) => again_at = again_at.min(Instant::now() + ASK_AGAIN),
                        },
                        () = tokio::time::sleep_until(again_at) => break,
                    }
                }
            }
        };
        tokio::time::timeout(within, answer).await.map_err(|_| silent(within))
    }

    /// So that both connections are open when they are needed, or are opened anew.
    pub(super) async fn ask_on_both(&self) {
        let patience = self.patience.silence;
        let asked = self.pair.iter().map(|link| self.ask_vote(link.connection(), patience / 2));
        let _ = tokio::time::timeout(patience, futures::future::join_all(asked)).await;
    }

    /// However late the answer comes, it counts. One that is dropped before `patience` is over says nothing
    /// of the connection: mostly another member has answered first.
    async fn ask_vote(&self, connection: Connection<'_>, patience: Duration) -> Result<Vote, Error> {
        let mut stub = connection.stub();
        let call = stub.read_vote(self.request(pb::ReadVoteRequest {}));
        tokio::pin!(call);
        let answer = match tokio::time::timeout(patience, &mut call).await {
            Ok(answer) => answer,
            Err(_) => {
                connection.missed();
                call.await
            }
        };
        connection.came(&answer);
        convert::read_vote(answer.map_err(refused)?.into_inner().vote.as_ref()).map_err(unreadable)
    }

    fn read_vote_response(response: &pb::VoteResponse) -> Result<VoteResponse<TypeConfig>, Error> {
        let vote = convert::read_vote(response.vote.as_ref()).map_err(unreadable)?;
        let last_log_id = response.last_log.as_ref().map(convert::read_log_id);
        Ok(VoteResponse { vote, vote_granted: response.granted, last_log_id })
    }
}

impl NetVote<TypeConfig> for Client {
    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let connection = self.connection();
        let mut stub = connection.stub();
        let call = stub.vote(self.request(Self::vote_message(&rpc)));
        Self::read_vote_response(&self.ask(&connection, option.soft_ttl(), call).await?)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let connection = self.connection();
        let mut stub = connection.stub();
        let call = stub.pre_vote(self.request(Self::vote_message(&rpc)));
        Self::read_vote_response(&self.ask(&connection, option.soft_ttl(), call).await?)
    }
}

impl NetSnapshot<TypeConfig> for Client {
    type SnapshotData = Bytes;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let head = pb::snapshot_chunk::Head {
            vote: Some(convert::vote(&vote)),
            last_log: snapshot.meta.last_log_id.as_ref().map(convert::log_id),
            membership: Bytes::from(
                serde_json::to_vec(&snapshot.meta.last_membership).expect("members have only string keys"),
            ),
            total_bytes: snapshot.snapshot.len() as u64,
        };
        let data = snapshot.snapshot;
        let pieces = (0..data.len()).step_by(SNAPSHOT_PIECE).map(move |start| {
            pb::snapshot_chunk::Part::Data(data.slice(start..data.len().min(start + SNAPSHOT_PIECE)))
        });
        let parts = std::iter::once(pb::snapshot_chunk::Part::Head(head)).chain(pieces);
        let chunks = stream::iter(parts.map(|part| pb::SnapshotChunk { part: Some(part) }));
        let connection = self.connection();
        let mut stub = connection.stub();
        let call = self.ask(&connection, self.patience.snapshot, stub.install_snapshot(self.request(chunks)));
        let answer = tokio::select! {
            answer = call => answer,
            closed = cancel => return Err(closed.into()),
        };
        let answer = answer.and_then(|answer| convert::read_vote(answer.vote.as_ref()).map_err(unreadable));
        match answer {
            Ok(vote) => Ok(SnapshotResponse::new(vote)),
            Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }
}

impl NetTransferLeader<TypeConfig> for Client {
    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Error> {
        let message = pb::TransferLeaderRequest {
            from: Some(convert::vote(req.from_leader())),
            to: *req.to_node_id(),
            last_log: req.last_log_id().map(convert::log_id),
        };
        let connection = self.connection();
        let mut stub = connection.stub();
        let call = stub.transfer_leader(self.request(message));
        let answer = self.ask(&connection, option.soft_ttl(), call).await?;
        convert::read_transferred(&answer).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tonic::transport::Endpoint;

    use super::*;
    use crate::testing::{self, CLUSTER, Group, SOON};

    const AGAIN_AFTER: Duration = Duration::from_millis(5);

    fn patience(silence: Duration) -> Patience {
        Patience { append: Duration::from_secs(1), snapshot: Duration::from_secs(1), silence }
    }

    /// Takes connections in, and says nothing.
    async fn silent_member() -> (tokio::net::TcpListener, Channel) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        (listener, Endpoint::from_shared(address).unwrap().connect_lazy())
    }

    /// A dialled connection takes several round trips before it answers. One that was opened anew before
    /// that never would.
    #[tokio::test]
    async fn a_connection_is_opened_anew_once_it_was_silent_for_long_and_not_for_what_was_dropped() {
        let (_listener, silent) = silent_member().await;
        let dialled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dialled);
        let dial: Dial = Arc::new(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            silent.clone()
        });
        let client =
            |silence| Peers::new("test".into(), dial.clone(), patience(silence)).to(2, &Member::default());
        let patient = client(Duration::from_secs(60));
        for _ in 0..10 {
            let asked = patient.read_vote(SOON, SOON);
            assert!(tokio::time::timeout(AGAIN_AFTER, asked).await.is_err());
        }
        assert!(patient.read_vote(AGAIN_AFTER, AGAIN_AFTER * 20).await.is_err());
        assert_eq!(dialled.swap(0, Ordering::SeqCst), 2);
        let silent_for = AGAIN_AFTER * 20;
        let impatient = client(silent_for);
        let asking = impatient.read_vote(AGAIN_AFTER, SOON);
        let begun = Instant::now();
        let anew = async {
            while dialled.load(Ordering::SeqCst) < 4 {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        };
        tokio::select! {
            answer = asking => panic!("{answer:?}"),
            () = anew => assert!(begun.elapsed() >= silent_for),
        }
    }

    #[tokio::test]
    async fn both_connections_are_opened_before_they_are_needed() {
        let (listener, silent) = silent_member().await;
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(silent);
        let dial: Dial = Arc::new(move |_, _| Endpoint::from_shared(address.clone()).unwrap().connect_lazy());
        let client = Peers::new("test".into(), dial, patience(AGAIN_AFTER * 20)).to(2, &Member::default());
        client.ask_on_both().await;
        for _ in 0..2 {
            tokio::time::timeout(SOON, listener.accept()).await.unwrap().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_one_connection_hangs_the_other_is_asked() {
        let group = Group::formed(3).await;
        let (_listener, silent) = silent_member().await;
        let well = group.channel(&testing::controller(1), 2);
        let dialled = AtomicUsize::new(0);
        let dial: Dial = Arc::new(move |_, _| match dialled.fetch_add(1, Ordering::SeqCst) {
            0 => silent.clone(),
            1 => well.clone(),
            _ => panic!("neither is opened anew"),
        });
        let client = Peers::new(CLUSTER.into(), dial, patience(SOON * 3)).to(2, &Member::default());
        client.read_vote(AGAIN_AFTER, SOON).await.unwrap();
        // From then on that one is asked first.
        client.read_vote(SOON * 2, SOON).await.unwrap();
    }
}
