//! A member speaks for itself alone: what the certificate names and what a message says are compared.

use futures::stream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use wire::host::{Network, TcpNetwork};
use wire::proto::regent::raft::v1 as pb;
use wire::proto::regent::raft::v1::raft_client::RaftClient;
use wire::serve::{ServeLimits, serve_plain};

use super::super::client::{CLUSTER_HEADER, TO_HEADER};
use crate::testing::{CLUSTER, Group, controller};

const CALLS: [&str; 5] = ["Append", "Vote", "PreVote", "InstallSnapshot", "TransferLeader"];
const ASKED: u64 = 1;

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let headers = request.metadata_mut();
    headers.insert_bin(CLUSTER_HEADER, MetadataValue::from_bytes(CLUSTER.as_bytes()));
    headers.insert_bin(TO_HEADER, MetadataValue::from_bytes(&ASKED.to_be_bytes()));
    request
}

/// Has one call say that it is of `member`, in term 0, which is over: it changes nothing.
async fn say(channel: &Channel, call: &str, member: u64) -> Result<(), Status> {
    let mut stub = RaftClient::new(channel.clone());
    let vote = Some(pb::Ballot { term: 0, member, committed: true });
    let ballot = pb::VoteRequest { vote, last_log: None, leadership_transfer: false };
    match call {
        "Append" => {
            let message =
                pb::AppendRequest { vote, previous: None, entries: Vec::new(), leader_commit: None };
            let mut answers = stub.append(request(stream::iter([message]))).await?.into_inner();
            answers.message().await.map(|_| ())
        }
        "Vote" => stub.vote(request(ballot)).await.map(|_| ()),
        "PreVote" => stub.pre_vote(request(ballot)).await.map(|_| ()),
        "InstallSnapshot" => {
            let membership = serde_json::to_vec(&crate::raft::types::StoredMembership::default()).unwrap();
            let head = pb::snapshot_chunk::Head {
                vote,
                last_log: None,
                membership: membership.into(),
                total_bytes: 0,
            };
            let chunk = pb::SnapshotChunk { part: Some(pb::snapshot_chunk::Part::Head(head)) };
            stub.install_snapshot(request(stream::iter([chunk]))).await.map(|_| ())
        }
        _ => {
            let message = pb::TransferLeaderRequest { from: vote, to: 3, last_log: None };
            stub.transfer_leader(request(message)).await.map(|_| ())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_cannot_speak_for_another() {
    let group = Group::formed(3).await;
    group.leader().await;
    let channel = group.channel(&controller(2), ASKED);
    for call in CALLS {
        let error = say(&channel, call, 3).await.expect_err(call);
        assert_eq!(error.code(), Code::PermissionDenied, "{call}: {error}");
        assert_eq!(
            error.message(),
            "the certificate is that of member 2, which cannot speak for member 3",
            "{call}"
        );
        assert_eq!(say(&channel, call, 2).await.map_err(|error| error.to_string()), Ok(()), "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_nobody_speaks_for_a_member() {
    let group = Group::formed(1).await;
    let listener = TcpNetwork.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Routes::new(group.controllers[&ASKED].node.service());
    tokio::spawn(serve_plain(listener, service, ServeLimits::peers(), CancellationToken::new()));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    for call in CALLS {
        let error = say(&channel, call, ASKED).await.expect_err(call);
        assert_eq!(error.code(), Code::PermissionDenied, "{call}: {error}");
    }
}
