//! The description of all that is served, for programs that write clients.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::OpenApi;

use super::{events, intents, queries};
use crate::http::{metrics, public};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Regent",
        description = "A controller's HTTP interface. Anybody may read `/healthz`, `/readyz`, `/`, `/api/v2/` and this \
                       document. All else is served on the gRPC port, over mutual TLS, to holders of an operator's \
                       certificate. Errors are problem details (RFC 9457)."
    ),
    paths(
        public::healthz,
        public::readyz,
        public::status_page,
        public::summary,
        public::status,
        public::components,
        public::incidents,
        public::unresolved_incidents,
        public::maintenances,
        public::upcoming_maintenances,
        public::active_maintenances,
        metrics::serve,
        serve,
        queries::status,
        queries::regions,
        queries::services,
        queries::plans,
        queries::plan,
        queries::journal,
        queries::config,
        queries::incidents,
        queries::drills,
        queries::what_if,
        queries::explain,
        queries::leases,
        events::serve,
        intents::switchover,
        intents::failback,
        intents::failover,
        intents::reinit,
        intents::approve,
        intents::cancel,
        intents::pause,
        intents::resume,
        intents::drain,
        intents::undrain,
        intents::set_config,
    )
)]
struct Description;

static JSON: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(document().to_json().expect("the description has only string keys")));

pub fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI", body = Object)))]
pub(in crate::http) async fn serve() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, JSON.clone()).into_response()
}
