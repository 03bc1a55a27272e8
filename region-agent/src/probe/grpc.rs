//! The standard health protocol of gRPC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use wire::connect::with_causes;
use wire::proto::grpc::health::v1::HealthCheckRequest;
use wire::proto::grpc::health::v1::health_check_response::ServingStatus;
use wire::proto::grpc::health::v1::health_client::HealthClient;
use wire::target::{Inside, Opener, Origin};

use super::Prober;

/// Further targets are connected to anew each time.
const MOST_CHANNELS: usize = 256;
/// A health answer has a handful of bytes.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

/// Channels that worked last time, to be used again.
#[derive(Default)]
pub(super) struct Channels(Mutex<HashMap<Origin, Channel>>);

pub(super) async fn probe(prober: &Prober, url: &str, service: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let origin = Origin::of(&uri)?;
    // Taken out for the time of the probe: when that fails, or is dropped, so is the channel.
    if let Some(channel) = prober.grpc.take(&origin)
        && let Ok(verdict) = ask(channel.clone(), service).await
    {
        prober.grpc.put(origin, channel);
        return verdict;
    }
    let channel = connect(&prober.opener, &uri, &origin).await?;
    let verdict = ask(channel.clone(), service).await?;
    prober.grpc.put(origin, channel);
    verdict
}

/// # Errors
/// When there was no answer of the protocol.
async fn ask(channel: Channel, service: &str) -> Result<Result<(), String>, String> {
    let mut client = HealthClient::new(channel).max_decoding_message_size(ANSWER_MAX_BYTES);
    match client.check(HealthCheckRequest { service: service.to_owned() }).await {
        Ok(answer) => Ok(match answer.get_ref().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("answered {}", other.as_str_name())),
        }),
        Err(status) if std::error::Error::source(&status).is_some() => Err(with_causes(&status)),
        Err(status) => Ok(Err(format!("answered {:?}: {}", status.code(), status.message()))),
    }
}

async fn connect(opener: &Opener, uri: &Uri, origin: &Origin) -> Result<Channel, String> {
    let stream = Arc::new(Mutex::new(Some(opener.open(origin, Inside::Http2).await?)));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Once only: what breaks is thrown away, so that each failure is seen.
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("connection closed")) }
    });
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    // TLS, if any, lies below.
    let scheme = if origin.secure { "https" } else { "http" };
    let shown = format!("{scheme}://{authority}").parse().map_err(|error| format!("{uri}: {error}"))?;
    Endpoint::from_static("http://target")
        .origin(shown)
        .connect_with_connector(connector)
        .await
        .map_err(|error| with_causes(&error))
}

impl Channels {
    fn take(&self, origin: &Origin) -> Option<Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(origin)
    }

    fn put(&self, origin: Origin, channel: Channel) {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.len() < MOST_CHANNELS {
            channels.insert(origin, channel);
        }
    }
}
