//! Reaching a peer: a lazy gRPC channel over the host's network and mutual TLS, which checks that it
//! reached whom it meant.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::host::{BoxIo, Host};
use crate::tls::{Credentials, Expect, reason};

/// Timers of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// TCP and TLS together: at least four round trips.
    pub connect_timeout: Duration,
    /// A ping this often, also when idle, …
    pub keepalive_interval: Duration,
    /// … and a connection that does not answer it for this long is given up.
    pub keepalive_timeout: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        ChannelOptions {
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(3),
        }
    }
}

/// Why a peer could not be reached. Nothing was sent to it.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("cannot connect to {address}: {error}")]
    Network { address: String, error: io::Error },
    #[error("no secure connection with {address}: {}", reason(error))]
    Tls { address: String, error: io::Error },
    #[error("no answer from {address} within {timeout:?}")]
    Timeout { address: String, timeout: Duration },
}

/// The bytes that may be under way without an answer: enough for a snapshot at 300 ms round trip
/// to flow at some megabytes a second, and the memory that one stream can take.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// A channel to `address` (`host:port`) that connects at its first call, and anew after a failure
/// at the next call, without backoff: whoever calls in a loop brings his own. While the peer is
/// away, calls fail at once or after the connect timeout, with status Unavailable.
pub fn channel(
    host: &Host,
    credentials: &Credentials,
    address: &str,
    expect: Expect,
    options: ChannelOptions,
) -> Channel {
    let (host, credentials, address) = (host.clone(), credentials.clone(), Arc::<str>::from(address));
    let connector = tower::service_fn(move |_: Uri| {
        let (host, credentials, address) = (host.clone(), credentials.clone(), Arc::clone(&address));
        let expect = expect.clone();
        async move {
            let stream = connect(&host, &credentials, &address, expect, options.connect_timeout).await?;
            Ok::<_, ConnectError>(TokioIo::new(stream))
        }
    });
    // The name is not looked up, only sent as the authority of requests.
    Endpoint::from_static("http://regent")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}

/// One connection by itself.
pub async fn connect(
    host: &Host,
    credentials: &Credentials,
    address: &str,
    expect: Expect,
    timeout: Duration,
) -> Result<TlsStream<BoxIo>, ConnectError> {
    let secured = async {
        let stream = host
            .network
            .connect(address)
            .await
            .map_err(|error| ConnectError::Network { address: address.to_owned(), error })?;
        let failed = |error| ConnectError::Tls { address: address.to_owned(), error };
        let config = credentials.client_config(expect).map_err(|error| failed(io::Error::other(error)))?;
        // A name is asked for, but neither sent nor compared: identities are URIs.
        let name = ServerName::try_from("regent").expect("is a DNS name");
        TlsConnector::from(config).connect(name, stream).await.map_err(failed)
    };
    tokio::time::timeout(timeout, secured)
        .await
        .unwrap_or_else(|_| Err(ConnectError::Timeout { address: address.to_owned(), timeout }))
}

/// An error with all its causes, as one line: tonic's own says "transport error" and no more.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.downcast_ref::<io::Error>().map_or_else(|| error.to_string(), reason);
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
