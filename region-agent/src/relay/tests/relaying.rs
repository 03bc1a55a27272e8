//! Over real sockets of this machine. The region's own agent is that of `eu`; instances are plain
//! servers that first say who they are, and then say again whatever is said to them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use decision::database::InstanceRole;
use decision::goal::{DatabaseGoal, Goal};
use decision::name::AgentId;
use decision::plan::Epoch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::host::TcpNetwork;

use super::super::{Limits, Relay, run};
use super::goal;
use crate::database::Board;
use crate::goals::Held;
use crate::instances::Instances;
use crate::instances::tests::{replica, report, shown};
use crate::metrics::{Metrics, Number};

/// Generous, because other tests run beside.
const SOON: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("in time: {what}"))
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Nobody's, each time another, and none that the system would give to a client of another test.
fn free() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 16 + high % 200, low, NEXT.fetch_add(1, Ordering::Relaxed)), 6_432).into()
}

/// In the place of an instance.
struct Server {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(name: u8) -> Server {
        Server::start_at(name, free()).await
    }

    async fn start_at(name: u8, at: SocketAddr) -> Server {
        let listener = TcpListener::bind(at).await.unwrap();
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                open.spawn(async move {
                    client.write_all(&[name]).await?;
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await?;
                    // What is said after the other side has ended must arrive as well.
                    to.write_all(b".").await?;
                    to.shutdown().await
                });
            }
        });
        Server { at, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct World {
    goals: watch::Sender<Arc<Held>>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    write: SocketAddr,
    read: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    async fn start(limits: Limits) -> World {
        let (goals, held) = watch::channel(Arc::<Held>::default());
        let (board, instances) = (Arc::<Board>::default(), Arc::<Instances>::default());
        let (metrics, stop) = (Arc::<Metrics>::default(), CancellationToken::new());
        let relay = Relay {
            agent: AgentId::new("eu", 1),
            network: Arc::new(TcpNetwork),
            instances: Arc::clone(&instances),
            metrics: Arc::clone(&metrics),
            limits,
        };
        let (followed, ends) = (Arc::clone(&board), stop.clone());
        tokio::spawn(async move { instances.keep(followed, ends).await });
        let task = tokio::spawn(run(relay, held, stop.clone()));
        let (write, read) = (free(), free());
        World { goals, board, metrics, write, read, stop, task }
    }

    /// `eu` and `us` are where the instances are.
    fn goal(&self, writer: Option<&str>, epoch: u64, eu: SocketAddr, us: SocketAddr) -> DatabaseGoal {
        let mut goal = goal(writer, epoch);
        for (region, at) in [("eu", eu), ("us", us)] {
            let instance = goal.wished.instances.get_mut(&region.into()).unwrap();
            (instance.host, instance.port) = (at.ip().to_string(), at.port());
            instance.write_endpoint = Some(self.write.to_string());
            instance.read_endpoint = Some(self.read.to_string());
        }
        goal
    }

    fn set(&self, databases: Vec<DatabaseGoal>) {
        let goal = Goal { databases, ..Goal::default() };
        // As from disk, with no controller alive.
        self.goals.send_replace(Arc::new(Held { goal, is_live: false }));
    }

    fn show(&self, report: decision::database::InstanceReport) {
        self.board.send_modify(|board| {
            board.insert("app".into(), shown(report));
        });
    }

    async fn stop(self) {
        self.stop.cancel();
        soon("it stops", self.task).await.unwrap();
        assert_eq!(self.metrics.relay_open.get(), 0);
        assert_eq!(self.metrics.relay_waiting.get(), 0);
    }
}

/// As soon as somebody listens.
async fn connect(at: SocketAddr) -> TcpStream {
    soon("somebody listens", async {
        loop {
            match TcpStream::connect(at).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await
}

/// Who answers it.
async fn greeted(client: &mut TcpStream) -> u8 {
    soon("a greeting", client.read_u8()).await.unwrap()
}

async fn echoes(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).await.unwrap();
    let mut got = vec![0; text.len()];
    soon("an echo", client.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, text);
}

async fn is_reset(client: &mut TcpStream) {
    let error = soon("it is cut off", client.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn counts(number: &Number, wanted: u64) {
    eventually("it is counted", || number.get() == wanted).await;
}

#[tokio::test]
async fn a_new_epoch_cuts_off_all_of_the_old_one_at_once() {
    let (eu, us) = (Server::start(b'e').await, Server::start(b'u').await);
    let world = World::start(Limits::default()).await;
    world.set(vec![world.goal(Some("us"), 7, eu.at, us.at)]);
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = connect(world.write).await;
        assert_eq!(greeted(&mut client).await, b'u');
        echoes(&mut client, b"what a client says").await;
        clients.push(client);
    }
    assert_eq!((world.metrics.relay_open.get(), world.metrics.relay_accepted.get()), (50, 50));

    // No controller changed anything of it: nobody is disturbed.
    world.set(vec![world.goal(Some("us"), 7, eu.at, us.at)]);
    echoes(&mut clients[0], b"more").await;

    let began = Instant::now();
    world.set(vec![world.goal(Some("eu"), 8, eu.at, us.at)]);
    for client in &mut clients {
        is_reset(client).await;
    }
    eprintln!("{} clients cut off within {:?}", clients.len(), began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let mut client = connect(world.write).await;
    assert_eq!(greeted(&mut client).await, b'e');
    counts(&world.metrics.relay_cut, 50).await;

    // The same instance at another epoch.
    world.set(vec![world.goal(Some("eu"), 9, eu.at, us.at)]);
    is_reset(&mut client).await;

    // S2: what comes late changes nothing.
    let mut client = connect(world.write).await;
    assert_eq!(greeted(&mut client).await, b'e');
    let (mut other, shop) = (world.goal(Some("us"), 1, eu.at, us.at), free());
    other.service = "shop".into();
    let instance = other.wished.instances.get_mut(&"eu".into()).unwrap();
    (instance.write_endpoint, instance.read_endpoint) = (Some(shop.to_string()), None);
    world.set(vec![world.goal(Some("us"), 8, eu.at, us.at), other]);
    assert_eq!(greeted(&mut connect(shop).await).await, b'u', "the goal is in force");
    echoes(&mut client, b"still there").await;
    assert_eq!(greeted(&mut connect(world.write).await).await, b'e');

    world.stop().await;
    is_reset(&mut client).await;
}

#[tokio::test]
async fn whoever_comes_during_a_vacancy_waits_for_the_next_writer() {
    let (eu, us) = (Server::start(b'e').await, Server::start(b'u').await);
    let world = World::start(Limits { waiting: 20, ..Limits::default() }).await;
    world.set(vec![world.goal(Some("us"), 7, eu.at, us.at)]);
    let mut old = connect(world.write).await;
    assert_eq!(greeted(&mut old).await, b'u');
    world.set(vec![world.goal(None, 7, eu.at, us.at)]);
    is_reset(&mut old).await;

    let mut waiting = Vec::new();
    for n in 0..20_u8 {
        let mut client = connect(world.write).await;
        client.write_all(&[n, n]).await.unwrap();
        waiting.push(client);
    }
    counts(&world.metrics.relay_waiting, 20).await;
    // One more than may.
    is_reset(&mut connect(world.write).await).await;
    counts(&world.metrics.relay_refused, 1).await;
    // One gives up; his place is free again.
    waiting.pop();
    counts(&world.metrics.relay_waiting, 19).await;

    // The next one is here, and on its way.
    world.show(replica(0, 0));
    world.set(vec![world.goal(Some("eu"), 8, eu.at, us.at)]);
    let mut late = connect(world.write).await;
    counts(&world.metrics.relay_waiting, 20).await;
    world.show(report(InstanceRole::Primary { epoch: Epoch(8) }));
    assert_eq!(greeted(&mut late).await, b'e');
    for (n, mut client) in waiting.into_iter().enumerate() {
        assert_eq!(greeted(&mut client).await, b'e');
        let mut said = [0; 2];
        soon("what was said early", client.read_exact(&mut said)).await.unwrap();
        assert_eq!(said, [n as u8; 2]);
        echoes(&mut client, b"and more").await;
    }
    assert_eq!(world.metrics.relay_refused.get(), 1);
    world.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let world = World::start(Limits { patience: Duration::from_millis(300), ..Limits::default() }).await;
    let nobody = free();
    world.set(vec![world.goal(None, 7, nobody, nobody)]);
    let began = Instant::now();
    is_reset(&mut connect(world.write).await).await;
    is_reset(&mut connect(world.read).await).await;
    assert!(began.elapsed() >= Duration::from_millis(600));

    // Nor for one who never comes.
    world.set(vec![world.goal(Some("us"), 8, nobody, nobody)]);
    is_reset(&mut connect(world.write).await).await;
    counts(&world.metrics.relay_refused, 3).await;
    assert_eq!(world.metrics.relay_cut.get(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_writer_that_refuses_at_first_is_tried_again() {
    let world = World::start(Limits::default()).await;
    let at = free();
    world.set(vec![world.goal(Some("us"), 7, at, at)]);
    let mut clients = Vec::new();
    // More than may try at once.
    for _ in 0..100 {
        clients.push(connect(world.write).await);
    }
    counts(&world.metrics.relay_waiting, 100).await;
    let us = Server::start_at(b'u', at).await;
    for client in &mut clients {
        assert_eq!(greeted(client).await, b'u');
    }
    // And given up for another.
    drop(us);
    let eu = Server::start(b'e').await;
    world.set(vec![world.goal(Some("us"), 7, eu.at, free())]);
    let mut client = connect(world.write).await;
    counts(&world.metrics.relay_waiting, 1).await;
    world.set(vec![world.goal(Some("eu"), 8, eu.at, at)]);
    assert_eq!(greeted(&mut client).await, b'e');
    world.stop().await;
}

#[tokio::test]
async fn each_side_may_end_before_the_other() {
    let us = Server::start(b'u').await;
    let world = World::start(Limits::default()).await;
    world.set(vec![world.goal(Some("us"), 7, us.at, us.at)]);
    for _ in 0..20 {
        let mut client = connect(world.write).await;
        let text = vec![b'x'; 300_000];
        let (mut from, mut to) = client.split();
        let said = async {
            to.write_all(&text).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (heard_all, ()) =
            soon("both ends", async { tokio::join!(from.read_to_end(&mut heard), said) }).await;
        heard_all.unwrap();
        assert_eq!(heard.len(), text.len() + 2);
        assert!(heard.starts_with(b"ux") && heard.ends_with(b"x."));
    }
    counts(&world.metrics.relay_open, 0).await;
    assert_eq!((world.metrics.relay_cut.get(), world.metrics.relay_refused.get()), (0, 0));

    // An instance that breaks off is seen to have done so.
    let mut client = connect(world.write).await;
    assert_eq!(greeted(&mut client).await, b'u');
    drop(us);
    let heard = soon("an end", client.read_u8()).await;
    assert!(heard.is_err());
    world.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_clients() {
    let us = Server::start(b'u').await;
    let world = World::start(Limits { connections: 300, ..Limits::default() }).await;
    world.set(vec![world.goal(Some("us"), 7, us.at, us.at)]);
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(connect(world.write).await);
    }
    for client in &mut clients {
        assert_eq!(greeted(client).await, b'u');
    }
    is_reset(&mut connect(world.write).await).await;
    counts(&world.metrics.relay_refused, 1).await;
    for client in &mut clients {
        echoes(client, b"here").await;
    }
    // Their places become free.
    clients.clear();
    counts(&world.metrics.relay_open, 0).await;
    assert_eq!(greeted(&mut connect(world.write).await).await, b'u');
    world.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_tried_again_and_one_that_is_gone_is_left() {
    let us = Server::start(b'u').await;
    let world = World::start(Limits::default()).await;
    let taken = Server::start_at(b't', world.write).await;
    world.set(vec![world.goal(Some("us"), 7, us.at, us.at)]);
    // The other endpoint is there.
    assert_eq!(greeted(&mut connect(world.read).await).await, b'u');
    assert_eq!(greeted(&mut connect(world.write).await).await, b't');
    drop(taken);
    soon("it listens", async { while greeted(&mut connect(world.write).await).await != b'u' {} }).await;

    // The configuration moves one and drops the other.
    let mut old = connect(world.write).await;
    assert_eq!(greeted(&mut old).await, b'u');
    let mut moved = world.goal(Some("us"), 7, us.at, us.at);
    let instance = moved.wished.instances.get_mut(&"eu".into()).unwrap();
    let at = free();
    instance.write_endpoint = Some(at.to_string());
    instance.read_endpoint = None;
    world.set(vec![moved]);
    is_reset(&mut old).await;
    assert_eq!(greeted(&mut connect(at).await).await, b'u');
    for at in [world.write, world.read] {
        soon("nobody listens", async { while TcpStream::connect(at).await.is_ok() {} }).await;
    }
    world.set(Vec::new());
    soon("nobody listens", async { while TcpStream::connect(at).await.is_ok() {} }).await;
    world.stop().await;
}

#[tokio::test]
async fn readers_go_elsewhere_when_the_replica_is_no_longer_fresh() {
    let (eu, us) = (Server::start(b'e').await, Server::start(b'u').await);
    let world = World::start(Limits::default()).await;
    world.set(vec![world.goal(Some("us"), 7, eu.at, us.at)]);
    let mut far = connect(world.read).await;
    assert_eq!(greeted(&mut far).await, b'u', "nothing is known of the replica");
    world.show(replica(0, 0));
    soon("the replica is read", async { while greeted(&mut connect(world.read).await).await != b'e' {} })
        .await;
    let mut near = connect(world.read).await;
    assert_eq!(greeted(&mut near).await, b'e');

    world.show(replica(6_000, 0));
    soon("the primary is read", async { while greeted(&mut connect(world.read).await).await != b'u' {} })
        .await;
    echoes(&mut near, b"served as before").await;

    // Promoted, it goes on serving its readers; those of the fenced primary are cut off.
    world.show(report(InstanceRole::Primary { epoch: Epoch(8) }));
    world.set(vec![world.goal(Some("eu"), 8, eu.at, us.at)]);
    is_reset(&mut far).await;
    echoes(&mut near, b"served as before").await;
    world.show(report(InstanceRole::Stopped { clean: false }));
    is_reset(&mut near).await;
    world.stop().await;
}
