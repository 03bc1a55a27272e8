//! The TCP listener (RFC 7766): pipelined requests, answered in their order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::host::{BoxIo, BoxListener};

use super::answer::{Outcome, Transport, answer};
use super::metrics::add;
use super::secondaries;
use super::shared::Shared;
use super::transfer::Transfer;
use super::weighted::next_random;

/// What connections may take together: this many times some 12 KiB.
const MOST_CONNECTIONS: usize = 256;
/// More than any honest question.
const LARGEST_REQUEST_OCTETS: usize = 4096;
const IDLE: Duration = Duration::from_secs(10);
/// RFC 7766, 6.2.3: a busy server may close idle connections sooner.
const IDLE_WHEN_CROWDED: Duration = Duration::from_secs(2);
/// For the rest of a request, or for the other side to take one message.
const PER_MESSAGE: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Accepts until `stop`; connections then end after the answer they are at, or at once on `abort`.
pub(crate) async fn serve(
    mut listener: BoxListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // Without a free slot nothing is accepted: askers wait in the kernel's backlog.
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
                listener.accept().await.map(|(io, from)| (io, from, slot))
            } => accepted,
        };
        let (io, from, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed; going on");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let crowded = slots.available_permits() < MOST_CONNECTIONS / 2;
        let idle = if crowded { IDLE_WHEN_CROWDED } else { IDLE };
        let (shared, stop, abort) = (Arc::clone(&shared), stop.clone(), abort.clone());
        tasks.spawn(async move {
            add(&shared.metrics.connections_accepted);
            add(&shared.metrics.connections_open);
            tokio::select! {
                () = abort.cancelled() => {}
                // Whatever ends a connection is the asker's doing, and he sees it end.
                _ = converse(io, from, idle, &shared, &stop) => {}
            }
            shared.metrics.connections_open.fetch_sub(1, Ordering::Relaxed);
            drop(slot);
        });
    }
}

async fn converse(
    io: BoxIo,
    from: SocketAddr,
    idle: Duration,
    shared: &Shared,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut io = BufStream::with_capacity(LARGEST_REQUEST_OCTETS, LARGEST_REQUEST_OCTETS, io);
    let mut random = shared.host.random.next_u64();
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    loop {
        let len = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            len = timeout(idle, io.read_u16()) => usize::from(len??),
        };
        if len > LARGEST_REQUEST_OCTETS {
            return Ok(());
        }
        request.resize(len, 0);
        timeout(PER_MESSAGE, io.read_exact(&mut request)).await??;
        let outcome = answer(&shared.table(), &request, Transport::Tcp, next_random(&mut random), &mut reply);
        match outcome {
            Outcome::Reply => {
                shared.metrics.count_answer(Transport::Tcp, &reply);
                send(&mut io, &reply).await?;
            }
            Outcome::Drop => {
                add(&shared.metrics.dropped);
                return Ok(());
            }
            Outcome::Transfer(transfer) => transfer_to(&mut io, from, transfer, shared).await?,
        }
    }
}

async fn transfer_to(
    io: &mut BufStream<BoxIo>,
    to: SocketAddr,
    transfer: Transfer,
    shared: &Shared,
) -> io::Result<()> {
    let (origin, generation) = (transfer.zone().desired.origin.clone(), transfer.zone().desired.generation);
    if !secondaries::include(&transfer.zone().desired.secondaries, to.ip()).await {
        add(&shared.metrics.transfers_refused);
        tracing::info!(%origin, %to, "refused a zone transfer: not one of the zone's secondaries");
        return match transfer.refused() {
            Some(refusal) => send(io, &refusal).await,
            None => Err(io::ErrorKind::InvalidData.into()),
        };
    }
    for message in transfer.messages() {
        let sent = match message {
            Some(message) => send(io, &message).await,
            None => Err(io::ErrorKind::InvalidData.into()),
        };
        if let Err(error) = sent {
            add(&shared.metrics.transfers_failed);
            tracing::warn!(%origin, generation, %to, %error, "a zone transfer broke off; the secondary will ask again");
            return Err(error);
        }
    }
    add(&shared.metrics.transfers_sent);
    tracing::info!(%origin, generation, %to, "sent a zone");
    Ok(())
}

async fn send(io: &mut BufStream<BoxIo>, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    timeout(PER_MESSAGE, async {
        io.write_u16(len).await?;
        io.write_all(message).await?;
        io.flush().await
    })
    .await?
}
