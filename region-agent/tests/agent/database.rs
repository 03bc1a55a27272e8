//! What clients of a database find at an agent that no controller speaks to.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use decision::config::{Database, Engine, Instance, LeaseTimings, Login, MaxDataLoss, Mode};
use decision::goal::{DatabaseGoal, DatabaseRole, Goal};
use decision::name::AgentId;
use decision::plan::Epoch;
use region_agent::Settings;
use region_agent::store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::controller::{Authority, SOON};
use crate::{settings, start};

/// The port of another address than that which clients are given ports of.
fn free(last: u8) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 16 + high % 200, low, last), 6_433).into()
}

fn instance(at: SocketAddr) -> Instance {
    Instance {
        data_dir: "/data".into(),
        host: at.ip().to_string(),
        port: at.port(),
        listen: vec!["*".into()],
        bin_dir: None,
        os_user: "postgres".into(),
        priority: 100,
        nofailover: false,
        write_endpoint: None,
        read_endpoint: None,
    }
}

/// Its primary is in `us`.
fn goal(eu: Instance, us: Instance) -> DatabaseGoal {
    let wished = Database {
        engine: Engine::Postgresql,
        mode: Mode::Async,
        max_data_loss: MaxDataLoss { bytes: 0, time: Duration::ZERO },
        lease: LeaseTimings {
            ttl: Duration::from_secs(3),
            renew_every: Duration::from_millis(300),
            fence_budget: Duration::from_millis(300),
        },
        failsafe: false,
        instances: [("eu".into(), eu), ("us".into(), us)].into(),
        superuser: "postgres".into(),
        replication: Login { user: "replication".into(), password: None },
        settings: [].into(),
        hba: Vec::new(),
        users: Vec::new(),
    };
    DatabaseGoal {
        service: "app".into(),
        wished,
        vacant_for: Duration::ZERO,
        system: None,
        history: Vec::new(),
        history_is_whole: true,
        epoch: Epoch(7),
        role: DatabaseRole::Replica { of: "us".into(), heir: false },
        writer: Some("us".into()),
        writer_serves: true,
        alone: None,
        unsettled: None,
        reinit: 0,
        peers: Default::default(),
    }
}

/// As soon as somebody listens.
async fn connect(at: SocketAddr) -> TcpStream {
    let connected = async {
        loop {
            match TcpStream::connect(at).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(SOON, connected).await.expect("somebody listens in time")
}

/// The whole answer.
async fn ask(at: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = connect(at).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn clients_are_led_by_the_goal_on_disk() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let primary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut eu = instance(free(1));
    eu.write_endpoint = Some(free(2).to_string());
    let goal = goal(eu, instance(primary.local_addr().unwrap()));
    let saved = Goal { generation: 7, databases: vec![goal], ..Goal::default() };
    let store = Store::open(dir.path(), "c", &AgentId::new("eu", 1)).unwrap();
    store.save_goal(&saved).unwrap();
    drop(store);

    let http = free(3);
    let settings = Settings {
        http_listen: Some(http.to_string()),
        ..settings(&authority, &["127.0.0.1:1"], dir.path())
    };
    let agent = start(settings);
    let mut client = connect(free(2)).await;
    let (mut server, _) = tokio::time::timeout(SOON, primary.accept()).await.unwrap().unwrap();
    client.write_all(b"a question").await.unwrap();
    let mut said = [0; 10];
    tokio::time::timeout(SOON, server.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"a question");

    for method in ["GET", "HEAD", "OPTIONS"] {
        let answer = ask(http, method, "/primary").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert_eq!(answer.contains(r#""role":"unknown""#), method != "HEAD", "{answer}");
    }
    assert!(ask(http, "GET", "/shop/primary").await.starts_with("HTTP/1.1 404"));
    assert!(ask(http, "GET", "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(ask(http, "OPTIONS", "/healthz").await.starts_with("HTTP/1.1 405"));
    let metrics = ask(http, "GET", "/metrics").await;
    assert!(metrics.contains("\nregent_agent_relay_connections_open 1\n"), "{metrics}");
    agent.stop().await;
    let error = tokio::time::timeout(SOON, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
