//! The listener under callers who are slow, hostile, many, or gone; and channels to peers that restart.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::{Extension, Router, routing::get};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use wire::connect::{ChannelOptions, channel, connect};
use wire::host::Host;
use wire::listen::HandshakeLimits;
use wire::serve::{ServeLimits, serve_plain};
use wire::tls::{Credentials, Expect};

fn to(address: &str, credentials: &Credentials) -> Channel {
    channel(&Host::system(), credentials, address, Expect::AnyController, ChannelOptions::default())
}

/// Reads to the end; how long that took.
async fn closed_after(mut io: impl tokio::io::AsyncRead + Unpin) -> Duration {
    let started = Instant::now();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, io.read_to_end(&mut rest)).await.expect("is closed").ok();
    started.elapsed()
}

#[tokio::test]
async fn handlers_see_who_calls() {
    let authority = authority("c1");
    let server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), ServeLimits::peers())
            .await;
    for (identity, uri) in [
        (controller(2), "spiffe://c1/controller/eu-west-1/2"),
        (agent("us-east-1"), "spiffe://c1/agent/us-east-1/1"),
        (operator(), "spiffe://c1/operator/ana"),
    ] {
        assert_eq!(ask(&to(&server.address, &credentials(&authority, &identity))).await.unwrap(), uri);
    }
    assert_eq!(server.counts.accepted.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn http_1_1_is_served_on_the_same_port() {
    let authority = authority("c1");
    let server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), ServeLimits::peers())
            .await;
    let caller = credentials(&authority, &operator());
    let mut io =
        connect(&Host::system(), &caller, &server.address, Expect::AnyController, SOON).await.unwrap();
    io.write_all(b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("spiffe://c1/operator/ana"), "{answer}");
}

#[tokio::test]
async fn a_refused_caller_learns_why() {
    let authority = authority("c1");
    let server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), ServeLimits::peers())
            .await;
    // Trusts our authority, but has a certificate of another.
    let stranger = support::authority("c1");
    let mut pem = stranger.pem(&issue(&stranger, &operator()));
    pem.ca.extend_from_slice(authority.certificate_pem().as_bytes());
    let stranger = Credentials::from_pem(pem, Host::system().clock).unwrap();
    let refusal = ask(&to(&server.address, &stranger)).await.unwrap_err();
    assert!(refusal.contains("UnknownCA"), "{refusal}");
    assert_eq!(server.counts.refused.load(Ordering::Relaxed), 1);
}

/// Whom TLS 1.3 refuses is already sending by then. A reset would cut that off, and fail its write
/// before it reads the alert.
#[tokio::test]
async fn a_refused_caller_can_finish_sending() {
    let authority = authority("c1");
    let server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), ServeLimits::peers())
            .await;
    let stranger = support::authority("c1");
    let mut pem = stranger.pem(&issue(&stranger, &operator()));
    pem.ca.extend_from_slice(authority.certificate_pem().as_bytes());
    let stranger = Credentials::from_pem(pem, Host::system().clock).unwrap();
    let mut io =
        connect(&Host::system(), &stranger, &server.address, Expect::AnyController, SOON).await.unwrap();
    let deadline = Instant::now() + SOON;
    while server.counts.refused.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        io.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        io.flush().await.unwrap();
    }
    let alert = io.read_u8().await.unwrap_err().to_string();
    assert!(alert.contains("UnknownCA"), "{alert}");
}

#[tokio::test]
async fn garbage_leaves_the_listener_alive() {
    let authority = authority("c1");
    let server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), ServeLimits::peers())
            .await;
    let garbage: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16, 0x03, 0x01, 0xff, 0xff, 0x01],
        &[0xff; 100_000],
    ];
    for bytes in garbage {
        let mut io = TcpStream::connect(&server.address).await.unwrap();
        io.write_all(bytes).await.ok();
        io.shutdown().await.ok();
        closed_after(io).await;
    }
    assert!(ask(&to(&server.address, &credentials(&authority, &operator()))).await.is_ok());
    assert_eq!(server.counts.refused.load(Ordering::Relaxed), garbage.len() as u64);
}

#[tokio::test]
async fn slow_handshakes_time_out_and_hold_nobody_up() {
    let authority = authority("c1");
    let timeout = Duration::from_millis(500);
    let handshakes = HandshakeLimits { timeout, concurrent: 64 };
    let server = whoami(&credentials(&authority, &controller(1)), handshakes, ServeLimits::peers()).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut io = TcpStream::connect(&server.address).await.unwrap();
        io.write_all(&[0x16, 0x03]).await.unwrap();
        slow.push(io);
    }
    let caller = credentials(&authority, &operator());
    assert!(ask(&to(&server.address, &caller)).await.is_ok());
    assert_eq!(server.counts.timed_out.load(Ordering::Relaxed), 0, "answered while the slow ones hang");
    for io in slow {
        assert!(closed_after(io).await < SOON);
    }
    assert_eq!(server.counts.timed_out.load(Ordering::Relaxed), 20);
}

#[tokio::test]
async fn with_every_slot_taken_others_wait_only_for_the_timeout() {
    let authority = authority("c1");
    let handshakes = HandshakeLimits { timeout: Duration::from_millis(300), concurrent: 2 };
    let server = whoami(&credentials(&authority, &controller(1)), handshakes, ServeLimits::peers()).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(TcpStream::connect(&server.address).await.unwrap());
    }
    assert!(ask(&to(&server.address, &credentials(&authority, &operator()))).await.is_ok());
    assert!(server.counts.timed_out.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let authority = authority("c1");
    let limits = ServeLimits { max_connections: 1, ..ServeLimits::peers() };
    let server = whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), limits).await;
    let caller = credentials(&authority, &operator());
    let first = to(&server.address, &caller);
    assert!(ask(&first).await.is_ok());
    assert!(ask(&to(&server.address, &caller)).await.is_err());
    assert!(ask(&first).await.is_ok(), "who is in stays in");
}

#[tokio::test]
async fn an_oversize_header_is_refused_and_the_server_goes_on() {
    let authority = authority("c1");
    let server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), ServeLimits::peers())
            .await;
    let caller = credentials(&authority, &operator());
    let long = format!("/whoami?{}", "x".repeat(60_000));
    let refused = get_path(&to(&server.address, &caller), &long).await;
    assert!(!matches!(refused, Ok((200, _))), "{refused:?}");
    assert!(ask(&to(&server.address, &caller)).await.is_ok());
}

#[tokio::test]
async fn shutdown_lets_requests_end_but_not_for_ever() {
    let authority = authority("c1");
    let limits = ServeLimits { grace: Duration::from_secs(2), ..ServeLimits::peers() };
    let mut server =
        whoami(&credentials(&authority, &controller(1)), HandshakeLimits::default(), limits).await;
    let caller = to(&server.address, &credentials(&authority, &operator()));
    let stuck_caller = to(&server.address, &credentials(&authority, &operator()));
    assert!(ask(&caller).await.is_ok() && ask(&stuck_caller).await.is_ok());
    let slow = tokio::spawn(async move { get_path(&caller, "/slow").await });
    let stuck = tokio::spawn(async move { get_path(&stuck_caller, "/stuck").await });
    // Both are under way well before the slow one's 300 ms are over.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.shutdown.cancel();
    assert_eq!(slow.await.unwrap().unwrap().0, 200);
    assert!(stuck.await.unwrap().is_err());
    tokio::time::timeout(SOON, &mut server.task).await.expect("ends").unwrap();
    assert!(TcpStream::connect(&server.address).await.is_err());
}

#[tokio::test]
async fn a_restarted_peer_is_usable_again_at_once() {
    let authority = authority("c1");
    let serving = credentials(&authority, &controller(1));
    let server = whoami(&serving, HandshakeLimits::default(), ServeLimits::peers()).await;
    let address = server.address.clone();
    let caller = to(&address, &credentials(&authority, &operator()));
    assert!(ask(&caller).await.is_ok());
    drop(server);
    let deadline = Instant::now() + SOON;
    while ask(&caller).await.is_ok() {
        assert!(Instant::now() < deadline, "the server is gone");
    }
    for _ in 0..50 {
        assert!(ask(&caller).await.unwrap_err().contains("cannot connect"), "fails at once while it is away");
    }
    let _server = whoami_at(&address, &serving, HandshakeLimits::default(), ServeLimits::peers()).await;
    let back = Instant::now();
    while ask(&caller).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // 100 ms on a quiet machine; generous, for this one may be busy. A backoff would take seconds.
    assert!(back.elapsed() < Duration::from_millis(500), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let authority = authority("c1");
    // Accepts, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let options = ChannelOptions { connect_timeout: Duration::from_millis(200), ..Default::default() };
    let caller = credentials(&authority, &operator());
    let channel = channel(&Host::system(), &caller, &address, Expect::AnyController, options);
    let error = ask(&channel).await.unwrap_err();
    assert!(error.contains(&format!("no answer from {address} within 200ms")), "{error}");
}

#[tokio::test]
async fn a_malformed_address_is_an_error_of_the_call() {
    let caller = credentials(&authority("c1"), &operator());
    for address in ["", "nonsense", "127.0.0.1:99999", "[::1"] {
        let error = ask(&to(address, &caller)).await.unwrap_err();
        assert!(error.contains("cannot connect"), "{error}");
    }
}

#[tokio::test]
async fn plain_listeners_serve_anybody_but_not_the_silent() {
    let listener = Host::system().network.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new()
        .route("/", get(|Extension(caller): Extension<SocketAddr>| async move { caller.ip().to_string() }));
    let limits = ServeLimits {
        first_request_timeout: Some(Duration::from_millis(200)),
        header_timeout: Duration::from_millis(300),
        ..ServeLimits::public()
    };
    let task = tokio::spawn(serve_plain(listener, router, limits, CancellationToken::new()));

    let mut io = TcpStream::connect(&address).await.unwrap();
    io.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");

    let silent = TcpStream::connect(&address).await.unwrap();
    let mut trickling = TcpStream::connect(&address).await.unwrap();
    trickling.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut preface_only = TcpStream::connect(&address).await.unwrap();
    preface_only.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    for io in [silent, trickling, preface_only] {
        closed_after(io).await;
    }
    // Idle after an answer: closed too.
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    closed_after(idle).await;
    task.abort();
}

/// The bound on services that the lead's merged router must meet.
#[test]
fn a_merged_router_of_grpc_and_plain_routes_fits() {
    fn fits<S: tower::Service<http::Request<hyper::body::Incoming>, Error = Infallible> + Clone>(_: S) {}
    fits(tonic::service::Routes::default().into_axum_router().route("/", get(|| async {})));
}
