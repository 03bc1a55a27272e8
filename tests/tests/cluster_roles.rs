//! Role × call: what the table of grants does not give is refused, for every call there is.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::Cluster;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use wire::connect::{ChannelOptions, channel, connect};
use wire::host::Host;
use wire::proto::regent::raft::v1::raft_client::RaftClient;
use wire::proto::regent::raft::v1::{Ballot, VoteRequest};
use wire::tls::{Credentials, Expect, Files};

/// Every gRPC method that a controller serves, and the one role that may call it.
const CALLS: [(&str, &str); 17] = [
    ("/regent.raft.v1.Raft/Append", "controller"),
    ("/regent.raft.v1.Raft/Vote", "controller"),
    ("/regent.raft.v1.Raft/PreVote", "controller"),
    ("/regent.raft.v1.Raft/ReadVote", "controller"),
    ("/regent.raft.v1.Raft/InstallSnapshot", "controller"),
    ("/regent.raft.v1.Raft/TransferLeader", "controller"),
    ("/regent.v1.Members/Forward", "controller"),
    ("/regent.v1.Members/Heard", "controller"),
    ("/regent.v1.Members/ReadIndex", "controller"),
    ("/regent.v1.Members/Renew", "controller"),
    ("/regent.v1.Agents/Session", "agent"),
    ("/regent.v1.Agents/Renew", "agent"),
    ("/regent.v1.Agents/Tell", "agent"),
    ("/regent.v1.Operator/Read", "operator"),
    ("/regent.v1.Operator/Do", "operator"),
    ("/regent.v1.Operator/Watch", "operator"),
    ("/grpc.health.v1.Health/Check", "nobody"),
];

const PATHS: [&str; 4] = ["/api/v1/status", "/api/v1/journal", "/api/v1/config", "/metrics"];
const ROLES: [&str; 3] = ["controller", "agent", "operator"];

/// The development certificates of one part of each role.
fn credentials(data_dir: &Path, role: &str, host: &Host) -> Credentials {
    let name = match role {
        "controller" => "controller-2",
        "agent" => "agent-us-east-1-1",
        _ => "operator",
    };
    let pki = data_dir.join("pki");
    let files = Files {
        certificate: pki.join(format!("{name}.pem")),
        key: pki.join(format!("{name}-key.pem")),
        ca: pki.join("ca.pem"),
    };
    Credentials::load(files, host.clock.clone()).expect("up made these")
}

/// An empty message to a path, whatever it expects.
async fn call(channel: tonic::transport::Channel, path: &'static str) -> Code {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.expect("the controller is up");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    let answer =
        tokio::time::timeout(Duration::from_secs(20), grpc.unary(Request::new(()), path, codec)).await;
    match answer {
        Ok(Ok(_)) => Code::Ok,
        Ok(Err(status)) => status.code(),
        // It was let in and now waits for more to come.
        Err(_) => Code::DeadlineExceeded,
    }
}

async fn get(host: &Host, credentials: &Credentials, address: &str, path: &str) -> u16 {
    let stream = connect(host, credentials, address, Expect::AnyController, Duration::from_secs(10))
        .await
        .expect("the controller is up");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let request =
        http::Request::get(format!("http://regent{path}")).body(Empty::<Bytes>::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let _ = answer.into_body().collect().await;
    status
}

#[test]
fn cluster_every_call_is_refused_to_every_role_but_its_own() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (mut refused, mut granted) = (0, 0);
    runtime.block_on(async {
        let host = Host::system();
        let address = cluster.grpc("us-east-1");
        for role in ROLES {
            let credentials = credentials(&cluster.data_dir(), role, &host);
            let channel =
                channel(&host, &credentials, &address, Expect::AnyController, ChannelOptions::default());
            for (path, granted_to) in CALLS {
                let code = call(channel.clone(), path).await;
                if granted_to == role {
                    assert_ne!(code, Code::PermissionDenied, "{role} {path}");
                    granted += 1;
                } else {
                    assert_eq!(code, Code::PermissionDenied, "{role} {path}");
                    refused += 1;
                }
            }
            for path in PATHS {
                let expected = if role == "operator" { 200 } else { 403 };
                assert_eq!(get(&host, &credentials, &address, path).await, expected, "{role} {path}");
            }
        }
    });
    let each = CALLS.iter().filter(|(_, granted_to)| ROLES.contains(granted_to)).count();
    assert_eq!((refused, granted), (ROLES.len() * CALLS.len() - each, each));
    runtime.block_on(a_controller_speaks_for_itself_alone(&cluster))
}

/// With a certificate of member 2, to every other member: in its own name and in that of each other.
/// Term 0 is over, so that what is let in changes nothing.
async fn a_controller_speaks_for_itself_alone(cluster: &Cluster) -> anyhow::Result<()> {
    let host = Host::system();
    let credentials = credentials(&cluster.data_dir(), "controller", &host);
    let status = cluster.status()?;
    let members = status["members"].as_array().expect("the members");
    let ids: Vec<u64> = members.iter().filter_map(|member| member["id"].as_u64()).collect();
    assert_eq!(ids.len(), 3);
    for to in members.iter().filter(|member| member["id"] != 2) {
        let address = to["grpc"].as_str().expect("its address");
        let id = to["id"].as_u64().expect("its id");
        let channel = channel(&host, &credentials, address, Expect::Member(id), ChannelOptions::default());
        let mut stub = RaftClient::new(channel);
        let cluster_id = credentials.trust_domain().to_string();
        let request = |member: u64| {
            let vote = Some(Ballot { term: 0, member, committed: false });
            let mut request = Request::new(VoteRequest { vote, last_log: None, leadership_transfer: false });
            let headers = request.metadata_mut();
            headers.insert_bin("regent-cluster-bin", MetadataValue::from_bytes(cluster_id.as_bytes()));
            headers.insert_bin("regent-to-bin", MetadataValue::from_bytes(&id.to_be_bytes()));
            request
        };
        for speaks_for in &ids {
            let asked = [stub.vote(request(*speaks_for)).await, stub.pre_vote(request(*speaks_for)).await];
            for answer in asked {
                let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
                let expected = if *speaks_for == 2 { Code::Ok } else { Code::PermissionDenied };
                assert_eq!(code, expected, "member 2 to {id} in the name of {speaks_for}");
            }
        }
    }
    Ok(())
}

#[test]
fn cluster_nobody_gets_more_than_the_public_status() -> anyhow::Result<()> {
    let cluster = Cluster::up("balanced")?;
    let public = cluster.http("us-east-1");
    let curl = |url: &str| -> anyhow::Result<String> {
        let output = std::process::Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "-k", url])
            .output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    for path in ["/", "/healthz", "/readyz", "/api/v2/summary.json", "/api/v2/incidents.json"] {
        assert_eq!(curl(&format!("http://{public}{path}"))?, "200", "{path}");
    }
    for path in PATHS {
        assert_eq!(curl(&format!("http://{public}{path}"))?, "401", "{path}");
    }
    // Without a certificate there is no handshake, so no call at all.
    assert_eq!(curl(&format!("https://{}/api/v1/status", cluster.grpc("us-east-1")))?, "000");
    Ok(())
}
