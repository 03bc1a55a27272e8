//! The sockets: pipelining, limits, idle connections, stopping, and what is left on disk.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use region_agent::dns::{DnsServer, Reason, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use wire::host::Host;

use super::support::{DEADLINE, serve, zone};

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

async fn read_message(stream: &mut TcpStream) -> Message {
    let len = timeout(DEADLINE, stream.read_u16()).await.unwrap().unwrap();
    let mut octets = vec![0; len.into()];
    timeout(DEADLINE, stream.read_exact(&mut octets)).await.unwrap().unwrap();
    Message::from_vec(&octets).unwrap()
}

/// Whether the other side closes, within the deadline.
async fn closes(stream: &mut TcpStream) -> bool {
    let read = timeout(DEADLINE, stream.read(&mut [0; 1])).await.expect("it closes in time");
    matches!(read, Ok(0) | Err(_))
}

async fn udp_answer(to: SocketAddr, request: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to).await.unwrap();
    socket.send(request).await.unwrap();
    let mut octets = [0; 4096];
    let len = timeout(Duration::from_secs(2), socket.recv(&mut octets)).await.ok()?.ok()?;
    Message::from_vec(&octets[..len]).ok()
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone(7, "192.0.2.1")]).await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let requests: Vec<u8> = (0..500).flat_map(|id| framed(&question(id, "app.example.test."))).collect();
    // In pieces that end anywhere.
    for piece in requests.chunks(97) {
        stream.write_all(piece).await.unwrap();
    }
    for id in 0..500 {
        let reply = read_message(&mut stream).await;
        assert_eq!((reply.metadata.id, reply.answers.len()), (id, 1));
    }
}

#[tokio::test]
async fn oversize_and_hopeless_messages_close_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone(7, "192.0.2.1")]).await;
    for octets in [&[0xff, 0xff, 1, 2, 3][..], &[0, 0], &[0, 5, 1, 2, 3, 4, 5]] {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(octets).await.unwrap();
        assert!(closes(&mut stream).await, "{octets:x?}");
    }
    // Malformed but with a header: told so, and the connection goes on.
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let broken = &question(9, "app.example.test.")[..20];
    stream.write_all(&framed(broken)).await.unwrap();
    assert_eq!(read_message(&mut stream).await.metadata.id, 9);
    stream.write_all(&framed(&question(10, "app.example.test."))).await.unwrap();
    assert_eq!(read_message(&mut stream).await.answers.len(), 1);
}

#[tokio::test]
async fn idle_connections_are_closed_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone(7, "192.0.2.1")]).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(server.local_addr()).await.unwrap());
    }
    // More than there are slots: this one is served once idle ones were closed.
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(&framed(&question(1, "app.example.test."))).await.unwrap();
    assert_eq!(read_message(&mut stream).await.answers.len(), 1);
    let open = server.metrics().all().find(|(name, _)| *name == "connections_open").unwrap().1;
    assert!(open <= 256, "{open}");
    for stream in &mut idle {
        assert!(closes(stream).await);
    }
}

#[tokio::test]
async fn stopping_ends_connections_and_frees_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone(7, "192.0.2.1")]).await;
    let at = server.local_addr();
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(&framed(&question(1, "app.example.test."))).await.unwrap();
    assert_eq!(read_message(&mut stream).await.answers.len(), 1);
    server.shutdown().await;
    assert!(closes(&mut stream).await);
    assert!(udp_answer(at, &question(1, "app.example.test.")).await.is_none());
    // The UDP address is free at once; TCP, whose closed connection lingers, for one who reuses.
    UdpSocket::bind(at).await.unwrap();
}

#[tokio::test]
async fn a_publish_is_seen_at_once_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone(7, "192.0.2.1")]).await;
    let request = question(1, "app.example.test.");
    for generation in 8..40 {
        let address = format!("192.0.2.{generation}");
        assert_eq!(server.publish(vec![zone(generation, &address)]).await, []);
        let reply = udp_answer(server.local_addr(), &request).await.unwrap();
        assert_eq!(reply.answers[0].data.to_string(), address);
    }
    let refused = server.publish(vec![zone(38, "192.0.2.38")]).await;
    assert_eq!(refused[0].reason, Reason::Older { held: 39 });
    // Dropped, not shut down: as a crash would, this writes nothing more.
    drop(server);
    let server = serve(dir.path(), Vec::new()).await;
    let reply = udp_answer(server.local_addr(), &request).await.unwrap();
    assert_eq!(reply.answers[0].data.to_string(), "192.0.2.39");
}

#[tokio::test]
async fn a_zone_that_a_newer_list_leaves_out_is_refused_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let request = question(1, "app.example.test.");
    let rcode = async |server: &DnsServer| {
        udp_answer(server.local_addr(), &request).await.unwrap().metadata.response_code
    };
    let server = serve(dir.path(), Vec::new()).await;
    assert_eq!(server.publish_list(10, vec![zone(7, "192.0.2.1")]).await, []);
    // No goal at all, an older one, the same one: none of them knows that it is gone.
    for generation in [0, 9, 10] {
        assert_eq!(server.publish_list(generation, Vec::new()).await, []);
        assert_eq!(rcode(&server).await, ResponseCode::NoError, "{generation}");
    }
    assert_eq!(server.publish_list(11, Vec::new()).await, []);
    assert_eq!(rcode(&server).await, ResponseCode::Refused);
    assert_eq!(server.held(), []);
    // Dropped, not shut down: as a crash would, this writes nothing more.
    drop(server);
    let server = serve(dir.path(), Vec::new()).await;
    assert_eq!(rcode(&server).await, ResponseCode::Refused);
    // The goal on disk may be behind.
    let refused = server.publish_list(10, vec![zone(7, "192.0.2.1")]).await;
    assert_eq!(refused[0].reason, Reason::OlderList { listed: 11 });
    assert_eq!(rcode(&server).await, ResponseCode::Refused);
    assert_eq!(server.publish_list(12, vec![zone(12, "192.0.2.1")]).await, []);
    assert_eq!(rcode(&server).await, ResponseCode::NoError);
}

#[tokio::test]
async fn a_corrupt_file_is_kept_aside_and_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    serve(dir.path(), vec![zone(7, "192.0.2.1")]).await.shutdown().await;
    let path = dir.path().join("zones.json");
    let mut octets = fs::read(&path).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    fs::write(&path, &octets).unwrap();
    let server = serve(dir.path(), Vec::new()).await;
    assert_eq!(server.held(), []);
    assert_eq!(fs::read(dir.path().join("zones.json.corrupt")).unwrap(), octets);
    assert_eq!(server.publish(vec![zone(7, "192.0.2.1")]).await, []);
}

#[tokio::test]
async fn a_disk_that_fails_does_not_stop_a_failover() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), vec![zone(7, "192.0.2.1")]).await;
    // A folder where the new file would be written.
    let beside = dir.path().join("zones.json.new");
    fs::create_dir(&beside).unwrap();
    assert_eq!(server.publish(vec![zone(8, "192.0.2.8")]).await, []);
    assert_eq!(server.held(), [("example.test".into(), 8)]);
    fs::remove_dir(&beside).unwrap();
    // The next publish saves it, also one with nothing new.
    assert_eq!(server.publish(Vec::new()).await, []);
    server.shutdown().await;
    assert_eq!(serve(dir.path(), Vec::new()).await.held(), [("example.test".into(), 8)]);
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), Vec::new()).await;
    let settings = Settings { bind: server.local_addr(), data_dir: dir.path().join("other") };
    let error = DnsServer::start(settings, Host::system()).await.err().expect("it is taken");
    assert!(error.to_string().contains(&server.local_addr().to_string()), "{error}");
}
