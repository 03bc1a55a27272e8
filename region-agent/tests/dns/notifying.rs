//! NOTIFY to a secondary that loses packets, and to one that never answers.

use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::RData;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::support::{DEADLINE, serve, zone};

async fn secondary() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap().to_string();
    (socket, at)
}

/// The next NOTIFY: its message, sender, and the serial it tells of.
async fn receive(socket: &UdpSocket) -> (Message, SocketAddr, u32) {
    let mut octets = [0; 512];
    let (len, from) = timeout(DEADLINE, socket.recv_from(&mut octets)).await.unwrap().unwrap();
    let message = Message::from_vec(&octets[..len]).unwrap();
    assert_eq!(message.metadata.op_code, OpCode::Notify);
    let RData::SOA(soa) = &message.answers[0].data else { panic!("no SOA: {message}") };
    let serial = soa.serial;
    (message, from, serial)
}

async fn acknowledge(socket: &UdpSocket, notify: &Message, to: SocketAddr, rcode: ResponseCode) {
    let mut reply = Message::new(notify.metadata.id, MessageType::Response, OpCode::Notify);
    reply.metadata.response_code = rcode;
    reply.queries = notify.queries.clone();
    socket.send_to(&reply.to_vec().unwrap(), to).await.unwrap();
}

fn acknowledged(server: &region_agent::dns::DnsServer) -> u64 {
    server.metrics().all().find(|(name, _)| *name == "notifies_acknowledged").unwrap().1
}

#[tokio::test]
async fn repeats_until_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, at) = secondary().await;
    let mut zone = zone(7, "192.0.2.1");
    zone.secondaries = vec![at];
    let server = serve(dir.path(), vec![zone]).await;
    // The first is lost, the second refused, the third answered.
    assert_eq!(receive(&socket).await.2, 7);
    let (notify, from, _) = receive(&socket).await;
    acknowledge(&socket, &notify, from, ResponseCode::Refused).await;
    let (notify, from, serial) = receive(&socket).await;
    assert_eq!(serial, 7);
    assert_eq!(acknowledged(&server), 0);
    acknowledge(&socket, &notify, from, ResponseCode::NoError).await;
    timeout(DEADLINE, async {
        while acknowledged(&server) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the acknowledgement counts");
}

#[tokio::test]
async fn a_newer_generation_supersedes_what_was_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, at) = secondary().await;
    let with_secondary = |generation| {
        let mut zone = zone(generation, "192.0.2.1");
        zone.secondaries = vec![at.clone()];
        zone
    };
    let server = serve(dir.path(), vec![with_secondary(7)]).await;
    assert_eq!(receive(&socket).await.2, 7);
    server.publish(vec![with_secondary(8)]).await;
    let mut serials = Vec::new();
    while serials.len() < 4 {
        serials.push(receive(&socket).await.2);
    }
    // At most one of the older generation was under way already.
    assert!(serials[1..].iter().all(|serial| *serial == 8), "{serials:?}");
    drop(server);
}

#[tokio::test]
async fn a_restart_tells_secondaries_again() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, at) = secondary().await;
    let mut zone = zone(7, "192.0.2.1");
    zone.secondaries = vec![at];
    let server = serve(dir.path(), vec![zone]).await;
    let (notify, from, _) = receive(&socket).await;
    acknowledge(&socket, &notify, from, ResponseCode::NoError).await;
    server.shutdown().await;
    let _server = serve(dir.path(), Vec::new()).await;
    assert_eq!(receive(&socket).await.2, 7);
}
