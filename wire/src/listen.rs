//! Accepting peers: TLS handshakes side by side, bounded in number and time, so that neither a slow
//! nor a hostile caller keeps others out.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::host::{BoxIo, BoxListener};
use crate::identity::SpiffeId;
use crate::tls::{Credentials, reason};

pub use connection::{Connection, Peer};

/// Bounds on handshakes under way.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    pub timeout: Duration,
    /// Beyond this, callers wait in the kernel's queue.
    pub concurrent: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        HandshakeLimits { timeout: Duration::from_secs(5), concurrent: 256 }
    }
}

/// What became of handshakes since start, for metrics.
#[derive(Debug, Default)]
pub struct HandshakeCounts {
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub timed_out: AtomicU64,
}

/// A listener that yields peers, each with its verified identity.
pub struct TlsListener {
    listener: BoxListener,
    credentials: Credentials,
    limits: HandshakeLimits,
    under_way: FuturesUnordered<BoxFuture<'static, Option<Connection>>>,
    accept_again_at: Option<Instant>,
    counts: Arc<HandshakeCounts>,
}

/// The wait after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a refused caller has to read why.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_MAX_BYTES: u64 = 64 * 1024;

impl TlsListener {
    pub fn new(listener: BoxListener, credentials: Credentials, limits: HandshakeLimits) -> TlsListener {
        TlsListener {
            listener,
            credentials,
            limits,
            under_way: FuturesUnordered::new(),
            accept_again_at: None,
            counts: Arc::default(),
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub fn counts(&self) -> Arc<HandshakeCounts> {
        Arc::clone(&self.counts)
    }

    /// The next peer whose handshake succeeded. Cancellation-safe.
    pub async fn next(&mut self) -> Connection {
        loop {
            let has_room = self.under_way.len() < self.limits.concurrent;
            tokio::select! {
                biased;
                Some(finished) = self.under_way.next() => {
                    if let Some(connection) = finished {
                        return connection;
                    }
                }
                accepted = accept(&mut self.listener, self.accept_again_at), if has_room => {
                    self.accept_again_at = None;
                    match accepted {
                        Ok((io, from)) => self.under_way.push(Box::pin(self.handshake(io, from))),
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept connections for the moment");
                            self.accept_again_at = Some(Instant::now() + ACCEPT_PAUSE);
                        }
                    }
                }
            }
        }
    }

    /// As `tonic::transport::Server::serve_with_incoming` takes it.
    pub fn into_incoming(self) -> impl Stream<Item = io::Result<Connection>> + Send {
        stream::unfold(self, |mut listener| async move {
            let connection = listener.next().await;
            Some((Ok(connection), listener))
        })
    }

    fn handshake(&self, io: BoxIo, from: SocketAddr) -> impl Future<Output = Option<Connection>> + use<> {
        let acceptor = TlsAcceptor::from(self.credentials.server_config());
        let (timeout, counts) = (self.limits.timeout, Arc::clone(&self.counts));
        async move {
            match tokio::time::timeout(timeout, handshake(acceptor, io, from, &counts)).await {
                Ok(connection) => connection,
                Err(_) => {
                    counts.timed_out.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%from, ?timeout, "TLS handshake timed out");
                    None
                }
            }
        }
    }
}

async fn accept(listener: &mut BoxListener, not_before: Option<Instant>) -> io::Result<(BoxIo, SocketAddr)> {
    if let Some(not_before) = not_before {
        tokio::time::sleep_until(not_before).await;
    }
    listener.accept().await
}

async fn handshake(
    acceptor: TlsAcceptor,
    io: BoxIo,
    from: SocketAddr,
    counts: &HandshakeCounts,
) -> Option<Connection> {
    let error = match acceptor.accept(io).into_fallible().await {
        Ok(stream) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            // Verified in the handshake; read again because rustls keeps only the bytes.
            match certificate.map(|leaf| SpiffeId::from_certificate(leaf)) {
                Some(Ok(id)) => {
                    counts.accepted.fetch_add(1, Ordering::Relaxed);
                    return Some(Connection::new(stream, Peer { id, address: from }));
                }
                Some(Err(error)) => error.to_string(),
                None => "no client certificate".to_owned(),
            }
        }
        Err((error, io)) => {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%from, reason = reason(&error), "TLS handshake refused");
            // The slot stays taken meanwhile, within the handshake's own time.
            let _ = tokio::time::timeout(LINGER, linger(io)).await;
            return None;
        }
    };
    counts.refused.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%from, reason = error, "TLS handshake refused");
    None
}

/// Closing with unread bytes makes the kernel send a reset, which can overtake the alert that says
/// why. So end our side, and read on until the caller has ended its own.
async fn linger(mut io: BoxIo) -> io::Result<()> {
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(LINGER_MAX_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}
