//! The UDP listener: one task, one request at a time, no allocation on the fast path.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::answer::{Outcome, PAYLOAD_OCTETS, Transport, answer};
use super::metrics::add;
use super::shared::Shared;
use super::weighted::next_random;

/// More than any honest question; what is longer is cut by the kernel and found malformed.
const LARGEST_REQUEST_OCTETS: usize = 2048;
/// After so many answers other tasks of the thread get their turn, and a newer table is looked for.
const BATCH: usize = 64;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

pub(crate) async fn serve(socket: UdpSocket, shared: Arc<Shared>, stop: CancellationToken) {
    let mut request = [0; LARGEST_REQUEST_OCTETS];
    let mut reply = Vec::with_capacity(usize::from(PAYLOAD_OCTETS));
    let mut random = shared.host.random.next_u64();
    while !stop.is_cancelled() {
        match serve_batch(&socket, &shared, &mut random, &mut request, &mut reply) {
            Ok(BATCH) => tokio::task::yield_now().await,
            Ok(_) => tokio::select! {
                () = stop.cancelled() => return,
                ready = socket.readable() => if ready.is_err() { tokio::time::sleep(PAUSE_AFTER_ERROR).await },
            },
            Err(error) => {
                tracing::warn!(%error, "receiving DNS requests failed; going on");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Answers what is waiting, at most `BATCH`; how many there were.
fn serve_batch(
    socket: &UdpSocket,
    shared: &Shared,
    random: &mut u64,
    request: &mut [u8],
    reply: &mut Vec<u8>,
) -> std::io::Result<usize> {
    let table = shared.table();
    for answered in 0..BATCH {
        let (len, from) = match socket.try_recv_from(request) {
            Ok(received) => received,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(answered),
            Err(e) => return Err(e),
        };
        if shared.host.gate.is_closed() {
            continue;
        }
        match answer(&table, &request[..len], Transport::Udp, next_random(random), reply) {
            Outcome::Reply => {
                shared.metrics.count_answer(Transport::Udp, reply);
                // No waiting for room: the asker asks again, and others must not wait for him.
                if socket.try_send_to(reply, from).is_err() {
                    add(&shared.metrics.dropped);
                }
            }
            Outcome::Drop | Outcome::Transfer(_) => add(&shared.metrics.dropped),
        }
    }
    Ok(BATCH)
}
