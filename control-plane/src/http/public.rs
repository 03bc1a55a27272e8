//! What anybody may ask: whether the controller lives, the status page and its API. Nothing here
//! changes anything, and nothing asks the leader: an answer comes from what this member holds.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Face;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use tokio::sync::watch;

use super::backend::{Backend, look};
use super::cache::{Cell, Rendered};
use super::page::{self, Freshness, content_security_policy};
use super::problem::{Problem, method_not_allowed, not_found, operators_only};
use super::statuspage::{self, Which};
use super::v1::openapi;

pub(super) struct Public {
    backend: Arc<dyn Backend>,
    changes: watch::Receiver<u64>,
    summary: Cell<u64>,
    status: Cell<u64>,
    components: Cell<u64>,
    incidents: Cell<u64>,
    unresolved: Cell<u64>,
    maintenances: Cell<u64>,
    active: Cell<u64>,
    upcoming: Cell<u64>,
    page: Cell<(u64, Freshness)>,
    api_headers: HeaderMap,
    page_headers: HeaderMap,
}

type Shared = Arc<Public>;

/// To be served on a plain listener, to anybody.
pub fn public(backend: Arc<dyn Backend>) -> Router {
    let shared = Arc::new(Public {
        changes: backend.changes(),
        backend,
        summary: Cell::default(),
        status: Cell::default(),
        components: Cell::default(),
        incidents: Cell::default(),
        unresolved: Cell::default(),
        maintenances: Cell::default(),
        active: Cell::default(),
        upcoming: Cell::default(),
        page: Cell::default(),
        api_headers: api_headers(),
        page_headers: page_headers(),
    });
    let mut router = Router::new();
    for (path, method_router) in routes() {
        router = router.route(path, method_router);
    }
    router
        .method_not_allowed_fallback(method_not_allowed)
        .route("/metrics", any(operators_only))
        .route("/api/v1", any(operators_only))
        .route("/api/v1/{*rest}", any(operators_only))
        .fallback(not_found)
        .with_state(shared)
}

/// Every path that is served to anybody.
pub fn public_paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

fn routes() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/", get(status_page)),
        ("/healthz", get(healthz)),
        ("/readyz", get(readyz)),
        ("/api/v1/openapi.json", get(openapi::serve)),
        ("/api/v2/summary.json", get(summary).options(preflight)),
        ("/api/v2/status.json", get(status).options(preflight)),
        ("/api/v2/components.json", get(components).options(preflight)),
        ("/api/v2/incidents.json", get(incidents).options(preflight)),
        ("/api/v2/incidents/unresolved.json", get(unresolved_incidents).options(preflight)),
        ("/api/v2/scheduled-maintenances.json", get(maintenances).options(preflight)),
        ("/api/v2/scheduled-maintenances/upcoming.json", get(upcoming_maintenances).options(preflight)),
        ("/api/v2/scheduled-maintenances/active.json", get(active_maintenances).options(preflight)),
    ]
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> Response {
    plain("ok\n")
}

/// Ready: this member follows or leads, and can answer.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = 503, description = "Not ready, and why", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn readyz(Face(face): Face<Shared>) -> Result<Response, Problem> {
    face.backend
        .is_ready()
        .map(|()| plain("ready\n"))
        .map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why))
}

fn plain(text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

/// The status page, for people.
#[utoipa::path(get, path = "/", tag = "status page",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"), (status = 304)))]
pub(super) async fn status_page(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    let index = *face.changes.borrow();
    let freshness = Freshness::new(face.backend.fresh_at(), face.backend.now());
    let page = face.page.get((index, freshness), || {
        look(&*face.backend, |state| {
            // Of the very state that the page shows.
            let summary = Rendered::new(statuspage::render(Which::Summary, state));
            page::render(state, freshness, summary.etag.to_str().unwrap_or_default())
        })
    });
    page.answer(&request, face.page_headers.clone())
}

/// Everything current: components, open incidents and one line over all.
#[utoipa::path(get, path = "/api/v2/summary.json", tag = "status page",
    responses((status = 200, body = statuspage::Summary, description = "The summary"), (status = 304)))]
pub(super) async fn summary(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::Summary, &face.summary, &request)
}

/// One line over all.
#[utoipa::path(get, path = "/api/v2/status.json", tag = "status page",
    responses((status = 200, body = statuspage::StatusDocument, description = "The status"), (status = 304)))]
pub(super) async fn status(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::Status, &face.status, &request)
}

/// Services and regions, in their groups.
#[utoipa::path(get, path = "/api/v2/components.json", tag = "status page",
    responses((status = 200, body = statuspage::Components, description = "The components"), (status = 304)))]
pub(super) async fn components(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::Components, &face.components, &request)
}

/// The latest 50 incidents.
#[utoipa::path(get, path = "/api/v2/incidents.json", tag = "status page",
    responses((status = 200, body = statuspage::Incidents, description = "The incidents"), (status = 304)))]
pub(super) async fn incidents(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::Incidents, &face.incidents, &request)
}

/// Incidents that are not resolved.
#[utoipa::path(get, path = "/api/v2/incidents/unresolved.json", tag = "status page",
    responses((status = 200, body = statuspage::Incidents, description = "The incidents"), (status = 304)))]
pub(super) async fn unresolved_incidents(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::UnresolvedIncidents, &face.unresolved, &request)
}

/// Drills, the latest 50. A drained region shows as a component under maintenance.
#[utoipa::path(get, path = "/api/v2/scheduled-maintenances.json", tag = "status page",
    responses((status = 200, body = statuspage::Maintenances, description = "The drills"), (status = 304)))]
pub(super) async fn maintenances(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::Maintenances, &face.maintenances, &request)
}

/// Always empty.
#[utoipa::path(get, path = "/api/v2/scheduled-maintenances/upcoming.json", tag = "status page",
    responses((status = 200, body = statuspage::Maintenances, description = "None"), (status = 304)))]
pub(super) async fn upcoming_maintenances(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::UpcomingMaintenances, &face.upcoming, &request)
}

/// The drill that is running.
#[utoipa::path(get, path = "/api/v2/scheduled-maintenances/active.json", tag = "status page",
    responses((status = 200, body = statuspage::Maintenances, description = "The drill, if one is running"), (status = 304)))]
pub(super) async fn active_maintenances(Face(face): Face<Shared>, request: HeaderMap) -> Response {
    face.document(Which::ActiveMaintenances, &face.active, &request)
}

impl Public {
    fn document(&self, which: Which, cell: &Cell<u64>, request: &HeaderMap) -> Response {
        // Read before the state is, so that what is shown is at least as new.
        let index = *self.changes.borrow();
        let rendered = cell.get(index, || look(&*self.backend, |state| statuspage::render(which, state)));
        let mut headers = self.api_headers.clone();
        // How long ago the data was last known to be current (RFC 9111, 5.1).
        let age = self.backend.now().since(self.backend.fresh_at());
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        rendered.answer(request, headers)
    }
}

async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn api_headers() -> HeaderMap {
    headers([
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=2"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "ETag, Age"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ])
}

fn page_headers() -> HeaderMap {
    let mut headers = headers([
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]);
    let policy = HeaderValue::from_str(&content_security_policy()).expect("the policy is plain ASCII");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers
}

fn headers<const N: usize>(list: [(HeaderName, &'static str); N]) -> HeaderMap {
    list.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}
