//! Serving HTTP/1.1 and HTTP/2 (gRPC and plain routes alike) to verified peers, or plainly to
//! anybody, with bounds on everything a caller can make grow.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use crate::connect::STREAM_WINDOW_BYTES;
use crate::host::{BoxListener, Io};
use crate::listen::TlsListener;

/// Bounds on what callers can take.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Further connections are closed at once.
    pub max_connections: usize,
    pub max_concurrent_streams: u32,
    pub max_header_bytes: u32,
    /// What HTTP/2 callers may send of a body before anybody reads it, in bytes: this for one stream,
    /// twice as much for all streams of a connection.
    pub window_bytes: u32,
    /// For the whole head of an HTTP/1.1 request.
    pub header_timeout: Duration,
    /// A connection without any request for this long after its start is closed; none: never.
    pub first_request_timeout: Option<Duration>,
    pub keepalive_interval: Duration,
    pub keepalive_timeout: Duration,
    /// How long requests under way may go on after shutdown began.
    pub grace: Duration,
}

impl ServeLimits {
    /// For parts of the cluster, who hold connections for long.
    pub fn peers() -> ServeLimits {
        ServeLimits {
            max_connections: 1_024,
            max_concurrent_streams: 1_024,
            max_header_bytes: 16 * 1024,
            window_bytes: STREAM_WINDOW_BYTES,
            header_timeout: Duration::from_secs(5),
            first_request_timeout: None,
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(5),
            grace: Duration::from_secs(3),
        }
    }

    /// For anybody, such as readers of the status page.
    pub fn public() -> ServeLimits {
        ServeLimits {
            max_connections: 4_096,
            max_concurrent_streams: 64,
            window_bytes: 32 * 1024,
            first_request_timeout: Some(Duration::from_secs(5)),
            ..ServeLimits::peers()
        }
    }
}

/// Serves verified peers until `shutdown`, then lets requests under way end within `limits.grace`.
/// Each request has its `listen::Peer` among its extensions. Dropping it ends all at once.
pub async fn serve<S, B>(listener: TlsListener, service: S, limits: ServeLimits, shutdown: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = listener.into_incoming().filter_map(|connection| async move {
        let connection = connection.ok()?;
        let peer = connection.peer().clone();
        Some((connection, peer))
    });
    serve_connections(connections, service, limits, shutdown).await;
}

/// Serves anybody, without TLS. Each request has its caller's `SocketAddr` among its extensions.
pub async fn serve_plain<S, B>(
    listener: BoxListener,
    service: S,
    limits: ServeLimits,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = stream::unfold(listener, |mut listener| async move {
        loop {
            match listener.accept().await {
                Ok(accepted) => return Some((accepted, listener)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for the moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    serve_connections(connections, service, limits, shutdown).await;
}

async fn serve_connections<C, I, P, S, B>(
    connections: C,
    service: S,
    limits: ServeLimits,
    shutdown: CancellationToken,
) where
    C: Stream<Item = (I, P)> + Send,
    I: Io,
    P: Clone + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let builder = Arc::new(builder(&limits));
    // Aborts what it holds when dropped.
    let mut open = JoinSet::new();
    {
        let mut connections = pin!(connections);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = open.join_next() => log_panic(ended),
                next = connections.next() => {
                    let Some((io, caller)) = next else { break };
                    if open.len() >= limits.max_connections {
                        tracing::debug!(max_connections = limits.max_connections, "too many connections");
                        continue;
                    }
                    let connection = serve_connection(
                        io, caller, service.clone(), Arc::clone(&builder), limits, shutdown.clone(),
                    );
                    open.spawn(connection);
                }
            }
        }
    }
    let ended = async {
        while let Some(ended) = open.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(limits.grace, ended).await.is_err() {
        tracing::debug!(still_open = open.len(), "closing connections that did not end by themselves");
    }
    open.shutdown().await;
}

async fn serve_connection<I, P, S, B>(
    io: I,
    caller: P,
    service: S,
    builder: Arc<auto::Builder<TokioExecutor>>,
    limits: ServeLimits,
    shutdown: CancellationToken,
) where
    I: Io,
    P: Clone + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let asked = Arc::new(AtomicBool::new(false));
    let handler = {
        let asked = Arc::clone(&asked);
        service_fn(move |mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(caller.clone());
            service.clone().oneshot(request)
        })
    };
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), handler));
    let first_request = async {
        match limits.first_request_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let mut first_request = pin!(first_request);
    let mut waiting = true;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = &mut first_request, if waiting => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                waiting = false;
            }
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
        }
    };
    if let Err(error) = ended {
        // Mostly callers that went away.
        tracing::debug!(%error, "connection ended");
    }
}

fn builder(limits: &ServeLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // hyper's own lower bound is 8 KiB.
        .max_buf_size((limits.max_header_bytes as usize).max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits.window_bytes)
        .initial_connection_window_size(limits.window_bytes.saturating_mul(2))
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_bytes)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    builder
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}
