//! What operators may ask and wish, over mutual TLS only: served on the port of gRPC, where every
//! request carries the [`Peer`] that its certificate proved.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use tokio::sync::Semaphore;
use wire::identity::Identity;
use wire::listen::Peer;

use super::backend::Backend;
use super::metrics;
use super::problem::{Problem, method_not_allowed, not_found};
use super::v1::{events, intents, openapi, queries};

pub(super) struct Private {
    pub(super) backend: Arc<dyn Backend>,
    /// A place for each reader of events.
    pub(super) event_streams: Arc<Semaphore>,
}

pub(super) type Shared = Arc<Private>;

/// The largest body taken; a configuration is far smaller.
const BODY_MAX_BYTES: usize = 1024 * 1024;
const EVENT_STREAMS_MAX: usize = 64;
/// From the whole head of a request to the head of its answer. Longer than the controller itself
/// waits for a majority, so that its own, better words come first.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// To be merged with the gRPC services. Has no fallback of its own, so that it can be.
pub fn private(backend: Arc<dyn Backend>) -> Router {
    let shared = Arc::new(Private { backend, event_streams: Arc::new(Semaphore::new(EVENT_STREAMS_MAX)) });
    let mut router = Router::new();
    for (path, method_router) in routes() {
        router = router.route(path, method_router);
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .route("/api/v1", any(not_found))
        .route("/api/v1/{*rest}", any(not_found))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .route_layer(from_fn(within_time))
        .route_layer(from_fn(operators_only))
        .with_state(shared)
}

/// Every path that is served to operators.
pub fn private_paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

fn routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/metrics", get(metrics::serve)),
        ("/api/v1/openapi.json", get(openapi::serve)),
        ("/api/v1/status", get(queries::status)),
        ("/api/v1/regions", get(queries::regions)),
        ("/api/v1/services", get(queries::services)),
        ("/api/v1/plans", get(queries::plans)),
        ("/api/v1/plans/{id}", get(queries::plan)),
        ("/api/v1/journal", get(queries::journal)),
        ("/api/v1/config", get(queries::config).post(intents::set_config)),
        ("/api/v1/incidents", get(queries::incidents)),
        ("/api/v1/drills", get(queries::drills)),
        ("/api/v1/what-if/{region}", get(queries::what_if)),
        ("/api/v1/explain/{service}", get(queries::explain)),
        ("/api/v1/leases", get(queries::leases)),
        ("/api/v1/events", get(events::serve)),
        ("/api/v1/services/{service}/switchover", post(intents::switchover)),
        ("/api/v1/services/{service}/failback", post(intents::failback)),
        ("/api/v1/services/{service}/failover", post(intents::failover)),
        ("/api/v1/services/{service}/reinit", post(intents::reinit)),
        ("/api/v1/plans/{id}/approve", post(intents::approve)),
        ("/api/v1/plans/{id}/cancel", post(intents::cancel)),
        ("/api/v1/pause", post(intents::pause)),
        ("/api/v1/resume", post(intents::resume)),
        ("/api/v1/regions/{region}/drain", post(intents::drain)),
        ("/api/v1/regions/{region}/undrain", post(intents::undrain)),
    ]
}

async fn operators_only(request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>() else {
        return super::problem::operators_only(request.uri().clone()).await.into_response();
    };
    if !matches!(peer.id.identity, Identity::Operator { .. }) {
        let detail = format!(
            "the certificate names {}, and {} is for operators only: use an operator's certificate",
            peer.id.identity,
            request.uri().path()
        );
        return Problem::new(StatusCode::FORBIDDEN, "operators_only", detail).into_response();
    }
    next.run(request).await
}

async fn within_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!(
                "no answer within {ANSWER_WITHIN:?}; a change that was asked for may still be carried out: read the \
                 state to know"
            );
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", detail).into_response()
        }
    }
}
