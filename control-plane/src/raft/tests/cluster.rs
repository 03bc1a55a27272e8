//! Members in one process, over real TCP on loopback.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use decision::command::Outcome;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use wire::host::{Network, TcpNetwork};
use wire::serve::{ServeLimits, serve_plain};

use super::super::{
    Committed, Dial, Member, MembersError, Node, ProposeError, ReadError, Settings, start, uncertified,
};
use super::{SOON, note};

struct Running {
    node: Node,
    served: tokio::task::JoinHandle<()>,
}

/// Members by id, with their folders and addresses, which outlive a stop.
struct Cluster {
    folder: tempfile::TempDir,
    /// Its own, so that the port of a member that is away is given to nobody else meanwhile: a member
    /// of another test's cluster there would be taken for it.
    ip: Ipv4Addr,
    addresses: BTreeMap<u64, SocketAddr>,
    running: BTreeMap<u64, Running>,
    snapshot_after: u64,
}

fn dial() -> Dial {
    Arc::new(|_, member: &Member| {
        Endpoint::from_shared(format!("http://{}", member.grpc))
            .expect("an address")
            .connect_timeout(Duration::from_millis(500))
            .tcp_nodelay(true)
            .connect_lazy()
    })
}

fn own_ip() -> Ipv4Addr {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, CLUSTERS.fetch_add(1, Ordering::Relaxed))
}

fn free_address(ip: Ipv4Addr) -> SocketAddr {
    std::net::TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Aborting the task closes every connection, as the death of a process does.
async fn serve(node: &Node, address: SocketAddr) -> tokio::task::JoinHandle<()> {
    let address = address.to_string();
    // Connections of the one before may keep the port for a moment.
    let listener = until("the port", || async { TcpNetwork.bind(&address).await.ok() }).await;
    let service = InterceptedService::new(node.service(), uncertified);
    let service = tonic::service::Routes::new(service);
    tokio::spawn(serve_plain(listener, service, ServeLimits::peers(), CancellationToken::new()))
}

impl Cluster {
    async fn new(size: u64, snapshot_after: u64) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Cluster {
            folder,
            ip: own_ip(),
            addresses: BTreeMap::new(),
            running: BTreeMap::new(),
            snapshot_after,
        };
        for id in 1..=size {
            cluster.start(id).await;
        }
        let members: BTreeMap<_, _> = (1..=size).map(|id| (id, cluster.member(id))).collect();
        for running in cluster.running.values() {
            running.node.initialize(members.clone()).await.unwrap();
        }
        cluster
    }

    fn settings(&self, id: u64) -> Settings {
        Settings {
            heartbeat: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            snapshot_after_entries: self.snapshot_after,
            keep_entries: 10,
            ..Settings::new(id, "test", self.folder.path().join(id.to_string()))
        }
    }

    fn member(&self, id: u64) -> Member {
        Member { region: format!("r{id}"), grpc: self.addresses[&id].to_string(), witness: false }
    }

    async fn start(&mut self, id: u64) {
        let ip = self.ip;
        let address = *self.addresses.entry(id).or_insert_with(|| free_address(ip));
        let node = start(self.settings(id), dial()).await.unwrap();
        let served = serve(&node, address).await;
        self.running.insert(id, Running { node, served });
    }

    /// Ends a member without a word to the others.
    async fn kill(&mut self, id: u64) {
        let running = self.running.remove(&id).unwrap();
        running.served.abort();
        running.node.raft.shutdown().await.unwrap();
    }

    fn node(&self, id: u64) -> Node {
        self.running[&id].node.clone()
    }

    /// The leader that all agree on who know one.
    async fn leader(&self) -> Node {
        until("a leader", || async {
            let seen: Vec<_> = self.running.values().filter_map(|r| r.node.status().leader).collect();
            let id = *seen.first()?;
            let agreed = seen.iter().all(|other| *other == id);
            let leader = agreed.then(|| self.running.get(&id)).flatten()?;
            leader.node.is_leader().then(|| leader.node.clone())
        })
        .await
    }

    async fn propose(&self, text: &str) -> Committed {
        until("a commit", || async { self.leader().await.propose(note(text), SOON).await.ok() }).await
    }

    /// All running members hold the same state, which has applied `index`.
    async fn converge(&self, index: u64) {
        for running in self.running.values() {
            assert!(running.node.wait_applied(index, SOON).await, "{:?}", running.node.status());
        }
        until("the same state everywhere", || async {
            let states: Vec<_> = self.running.values().map(|r| r.node.view().state()).collect();
            states.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        })
        .await;
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let give_up = Instant::now() + SOON;
    while Instant::now() < give_up {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within {SOON:?}");
}

fn notes(node: &Node) -> u64 {
    node.view().state().journal.last_seq()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_elect_commit_and_agree() {
    let cluster = Cluster::new(3, 1_000).await;
    let committed = cluster.propose("first").await;
    assert!(matches!(committed.outcome, Outcome::Applied { .. }), "{committed:?}");
    cluster.converge(committed.index).await;
    let leader = cluster.leader().await;
    assert_eq!(leader.read(SOON).await.unwrap().index, committed.index);
    let follower = cluster.running.values().find(|r| !r.node.is_leader()).unwrap().node.clone();
    match follower.propose(note("x"), SOON).await.unwrap_err() {
        ProposeError::NotLeader { leader: Some((id, member)) } => {
            assert_eq!((id, member), (leader.id(), cluster.member(leader.id())));
        }
        other => panic!("{other}"),
    }
    let error = follower.read(SOON).await.unwrap_err();
    assert!(matches!(error, ReadError::NotLeader { leader: Some(_) }), "{error}");
    // What a follower needs to answer a linearizable read itself.
    let index = leader.confirm_leadership(SOON).await.unwrap();
    assert!(follower.wait_applied(index, SOON).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_comes_back_from_its_disk() {
    let mut cluster = Cluster::new(3, 1_000).await;
    for i in 0..20 {
        cluster.propose(&format!("before {i}")).await;
    }
    let leader = cluster.leader().await.id();
    cluster.kill(leader).await;
    for i in 0..20 {
        cluster.propose(&format!("without {i}")).await;
    }
    cluster.start(leader).await;
    let last = cluster.propose("after").await;
    cluster.converge(last.index).await;
    assert_eq!(notes(&cluster.node(leader)), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_killed_at_once_keep_what_was_acknowledged() {
    let mut cluster = Cluster::new(3, 50).await;
    for i in 0..120 {
        cluster.propose(&format!("{i}")).await;
    }
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    let last = cluster.propose("after").await;
    cluster.converge(last.index).await;
    assert_eq!(notes(&cluster.node(1)), 121);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_far_behind_catches_up_by_snapshot() {
    let mut cluster = Cluster::new(3, 40).await;
    let away = (cluster.leader().await.id() % 3) + 1;
    cluster.kill(away).await;
    for i in 0..200 {
        cluster.propose(&format!("{i} {}", "x".repeat(3_000))).await;
    }
    let leader = cluster.leader().await;
    until("a dropped log", || async { (leader.status().purged > 100).then_some(()) }).await;
    cluster.start(away).await;
    let last = cluster.propose("after").await;
    cluster.converge(last.index).await;
    let node = cluster.node(away);
    assert!(node.status().snapshot > 100, "{:?}", node.status());
    // And from then on it starts from what it was sent.
    cluster.kill(away).await;
    cluster.start(away).await;
    cluster.converge(last.index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_reached_within_moments() {
    let mut cluster = Cluster::new(3, 1_000).await;
    cluster.propose("x").await;
    let away = (cluster.leader().await.id() % 3) + 1;
    cluster.kill(away).await;
    let last = cluster.propose("y").await;
    // Long enough for a growing backoff to have grown.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.start(away).await;
    let back = Instant::now();
    assert!(cluster.node(away).wait_applied(last.index, SOON).await);
    assert!(back.elapsed() < Duration::from_millis(500), "took {:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_replaced_and_removed_while_running() {
    let mut cluster = Cluster::new(3, 1_000).await;
    cluster.propose("x").await;
    for id in [4, 5] {
        cluster.start(id).await;
    }
    let leader = cluster.leader().await;
    let witness = Member { witness: true, ..cluster.member(4) };
    leader.add_voter(4, witness.clone(), SOON).await.unwrap();
    assert_eq!(leader.status().members[&4].member, witness);
    assert!(leader.status().members[&4].voter);

    let old = (leader.id() % 3) + 1;
    leader.replace_member(old, 5, cluster.member(5), SOON).await.unwrap();
    let members = leader.status().members;
    assert!(members[&5].voter && !members.contains_key(&old), "{members:?}");
    cluster.kill(old).await;
    let last = cluster.propose("y").await;
    cluster.converge(last.index).await;

    // The leader itself: it hands over.
    let leader = cluster.leader().await;
    leader.remove_member(leader.id(), SOON).await.unwrap();
    cluster.kill(leader.id()).await;
    let last = cluster.propose("z").await;
    cluster.converge(last.index).await;
    let status = cluster.leader().await.status();
    assert!(!status.members.contains_key(&leader.id()) && status.members.len() == 3, "{status:?}");

    let error = cluster.leader().await.replace_member(99, 6, Member::default(), SOON).await.unwrap_err();
    assert!(matches!(error, MembersError::Refused { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_hands_leadership_over() {
    let mut cluster = Cluster::new(3, 1_000).await;
    cluster.propose("x").await;
    let leader = cluster.leader().await;
    let others: Vec<_> =
        cluster.running.values().map(|r| r.node.clone()).filter(|n| n.id() != leader.id()).collect();
    let began = Instant::now();
    leader.shutdown(Duration::from_secs(5)).await;
    let successor = until("a successor", || async { others.iter().find(|node| node.is_leader()) }).await;
    let took = began.elapsed();
    // Without the hand-over, a lease (600 ms) and an election timeout (300 ms) would have to pass.
    assert!(took < Duration::from_millis(600), "took {took:?}");
    successor.propose(note("y"), SOON).await.unwrap();
    cluster.running.remove(&leader.id()).unwrap().served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_errors_are_clean_and_soon_and_it_recovers() {
    let mut cluster = Cluster::new(3, 1_000).await;
    cluster.propose("x").await;
    let leader = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|id| *id != leader.id()).collect();
    for id in &others {
        cluster.kill(*id).await;
    }
    let within = Duration::from_millis(300);
    let began = Instant::now();
    let error = leader.propose(note("lost?"), within).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown { .. }), "{error}");
    let error = leader.read(within).await.unwrap_err();
    assert!(matches!(error, ReadError::NoQuorum { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    // After a while it does not even take them.
    until("the leader to notice", || async { leader.quorum_silent() }).await;
    let before = leader.status().last_log;
    let error = leader.propose(note("refused"), SOON).await.unwrap_err();
    assert!(matches!(error, ProposeError::NoQuorum { .. }), "{error}");
    assert_eq!(leader.status().last_log, before);

    cluster.start(others[0]).await;
    let last = cluster.propose("again").await;
    cluster.start(others[1]).await;
    cluster.converge(last.index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_of_another_cluster_is_not_listened_to() {
    let mut cluster = Cluster::new(3, 1_000).await;
    cluster.propose("x").await;
    let stranger = (cluster.leader().await.id() % 3) + 1;
    cluster.kill(stranger).await;
    // At the same address, but of another cluster: it must neither get nor disturb the log.
    let settings = Settings {
        cluster_id: "other".into(),
        data_dir: cluster.folder.path().join("other"),
        ..cluster.settings(stranger)
    };
    let node = start(settings, dial()).await.unwrap();
    let served = serve(&node, cluster.addresses[&stranger]).await;
    for i in 0..20 {
        cluster.propose(&format!("{i}")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.status().last_log, 0);
    assert_eq!(node.status().term, 0);
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_away_is_not_called_in_a_tight_loop() {
    let mut cluster = Cluster::new(3, 1_000).await;
    let leader = cluster.leader().await.id();
    let away = leader % 3 + 1;
    cluster.kill(away).await;
    // Closes each connection at once, as fast as a port where nobody listens refuses it.
    let address = cluster.addresses[&away].to_string();
    let mut listener = until("the port", || async { TcpNetwork.bind(&address).await.ok() }).await;
    let committed = cluster.propose("after").await;
    let mut calls = 0;
    let a_second = Instant::now() + Duration::from_secs(1);
    while let Ok(accepted) = tokio::time::timeout_at(a_second.into(), listener.accept()).await {
        drop(accepted);
        calls += 1;
    }
    // Entries, a heartbeat and a vote or two, each every 50 ms.
    assert!(calls < 150, "{calls} calls in a second");
    cluster.converge(committed.index).await;
}
