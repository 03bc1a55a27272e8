//! Wishes of operators. The leader carries them out, or says which rule refused.

use axum::extract::{Extension, State as Face};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use decision::config::Config;
use decision::name::{RegionName, ServiceName};
use serde::Deserialize;
use utoipa::ToSchema;
use wire::api::{Intent, IntentReply};
use wire::listen::Peer;

use super::parameters::{Acting, Asked, Body, Named, plan_id};
use super::rehearse::rehearse;
use crate::http::private::Shared;
use crate::http::problem::Problem;

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Switchover {
    /// The best region when none is named.
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Failover {
    /// Whoever would lose least when none is named.
    #[serde(default)]
    to: Option<String>,
    /// What the target lacks may be lost.
    #[serde(default)]
    allow_data_loss: bool,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Reinit {
    /// Where the replica is.
    region: String,
}

/// Why, for the journal; the status page may show it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Because {
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Nothing {}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewConfig {
    /// The generation it was made from: refused when another came between.
    parent_generation: u64,
    #[schema(value_type = Object)]
    config: Box<Config>,
}

/// Moves a service to another region, as planned.
#[utoipa::path(post, path = "/api/v1/services/{service}/switchover", tag = "actions", request_body = Switchover,
    params(("service" = String, Path, description = "The service"), Acting), responses(
    (status = 202, description = "`IntentReply`; `Location` is the plan that was opened", body = Object),
    (status = 200, description = "`IntentReply` of a dry run", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such thing"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "A rule refused")))]
pub(in crate::http) async fn switchover(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(service): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Switchover>,
) -> Result<Response, Problem> {
    let (service, to) = (ServiceName(service), body.to.map(RegionName));
    wish(face, peer, Intent::Switchover { service, to, reason: body.reason, dry_run }, dry_run).await
}

/// Forces a service to another region: whoever writes to its database is ended at once. What would be
/// lost is refused unless it is accepted.
#[utoipa::path(post, path = "/api/v1/services/{service}/failover", tag = "actions", request_body = Failover,
    params(("service" = String, Path, description = "The service"), Acting), responses(
    (status = 202, description = "`IntentReply`; `Location` is the plan that was opened", body = Object),
    (status = 200, description = "`IntentReply` of a dry run, with the loss and the regions rejected", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such thing"),
    (status = 409, body = Problem, content_type = "application/problem+json",
        description = "A rule refused, or data would be lost")))]
pub(in crate::http) async fn failover(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(service): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Failover>,
) -> Result<Response, Problem> {
    let Failover { to, allow_data_loss, reason } = body;
    let (service, to) = (ServiceName(service), to.map(RegionName));
    wish(face, peer, Intent::Failover { service, to, allow_data_loss, reason, dry_run }, dry_run).await
}

/// Has the replica of a service's database in a region copied anew.
#[utoipa::path(post, path = "/api/v1/services/{service}/reinit", tag = "actions", request_body = Reinit,
    params(("service" = String, Path, description = "The service"), Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such thing"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "A rule refused")))]
pub(in crate::http) async fn reinit(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(service): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Reinit>,
) -> Result<Response, Problem> {
    let (service, region) = (ServiceName(service), RegionName(body.region));
    wish(face, peer, Intent::Reinit { service, region }, dry_run).await
}

/// Moves a service home, to the first region that hosts it.
#[utoipa::path(post, path = "/api/v1/services/{service}/failback", tag = "actions", request_body = Because,
    params(("service" = String, Path, description = "The service"), Acting), responses(
    (status = 202, description = "`IntentReply`; `Location` is the plan that was opened", body = Object),
    (status = 200, description = "`IntentReply` of a dry run", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such thing"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "A rule refused")))]
pub(in crate::http) async fn failback(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(service): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Because>,
) -> Result<Response, Problem> {
    let service = ServiceName(service);
    wish(face, peer, Intent::Failback { service, reason: body.reason, dry_run }, dry_run).await
}

/// Lets a plan that waits for approval begin.
#[utoipa::path(post, path = "/api/v1/plans/{id}/approve", tag = "actions", request_body = Nothing,
    params(("id" = String, Path, description = "`plan-7` or `7`"), Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such plan"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "A rule refused")))]
pub(in crate::http) async fn approve(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(id): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    wish(face, peer, Intent::Approve { plan: plan_id(&id)? }, dry_run).await
}

/// Ends a plan before its point of no return.
#[utoipa::path(post, path = "/api/v1/plans/{id}/cancel", tag = "actions", request_body = Because,
    params(("id" = String, Path, description = "`plan-7` or `7`"), Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such plan"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "A rule refused")))]
pub(in crate::http) async fn cancel(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(id): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Because>,
) -> Result<Response, Problem> {
    wish(face, peer, Intent::Cancel { plan: plan_id(&id)?, why: body.reason }, dry_run).await
}

/// Freezes all automation, visibly.
#[utoipa::path(post, path = "/api/v1/pause", tag = "actions", request_body = Because, params(Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object)))]
pub(in crate::http) async fn pause(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Because>,
) -> Result<Response, Problem> {
    wish(face, peer, Intent::Pause { why: body.reason }, dry_run).await
}

/// Ends a pause.
#[utoipa::path(post, path = "/api/v1/resume", tag = "actions", request_body = Nothing, params(Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object)))]
pub(in crate::http) async fn resume(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    wish(face, peer, Intent::Resume, dry_run).await
}

/// Takes a region out of service on purpose: its services leave, and none comes.
#[utoipa::path(post, path = "/api/v1/regions/{region}/drain", tag = "actions", request_body = Because,
    params(("region" = String, Path, description = "The region"), Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "No such region")))]
pub(in crate::http) async fn drain(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(region): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<Because>,
) -> Result<Response, Problem> {
    wish(face, peer, Intent::Drain { region: RegionName(region), why: body.reason }, dry_run).await
}

/// Lets a drained region serve again.
#[utoipa::path(post, path = "/api/v1/regions/{region}/undrain", tag = "actions", request_body = Nothing,
    params(("region" = String, Path, description = "The region"), Acting), responses(
    (status = 200, description = "`IntentReply`", body = Object)))]
pub(in crate::http) async fn undrain(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Named(region): Named,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    wish(face, peer, Intent::Undrain { region: RegionName(region) }, dry_run).await
}

/// Replaces the configuration, if it is still of the generation named.
#[utoipa::path(post, path = "/api/v1/config", tag = "configuration", request_body = NewConfig, params(Acting),
    responses((status = 200, description = "`IntentReply`", body = Object),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "A rule refused"),
    (status = 413, body = Problem, content_type = "application/problem+json", description = "Over 1 MiB"),
    (status = 422, body = Problem, content_type = "application/problem+json",
        description = "It contradicts itself: each place, what is wrong and what to write instead")))]
pub(in crate::http) async fn set_config(
    face: Face<Shared>,
    peer: Extension<Peer>,
    Asked(Acting { dry_run }): Asked<Acting>,
    Body(body): Body<NewConfig>,
) -> Result<Response, Problem> {
    let NewConfig { parent_generation, config } = body;
    wish(face, peer, Intent::SetConfig { parent_generation, config }, dry_run).await
}

async fn wish(
    Face(face): Face<Shared>,
    Extension(peer): Extension<Peer>,
    intent: Intent,
    dry_run: bool,
) -> Result<Response, Problem> {
    let by = peer.id.identity.to_string();
    // The leader itself tries plans that are not to be opened; the rest is tried on a copy here.
    let by_leader =
        matches!(intent, Intent::Switchover { .. } | Intent::Failback { .. } | Intent::Failover { .. });
    let reply = match dry_run && !by_leader {
        true => rehearse(&*face.backend, intent, by)?,
        false => face.backend.intent(intent, by).await?,
    };
    answer(&reply, dry_run)
}

fn answer(reply: &IntentReply, dry_run: bool) -> Result<Response, Problem> {
    let (refusal, opened) = match reply {
        IntentReply::Refused { refusal } => (Some(refusal), None),
        IntentReply::Done { outcome, plan, .. } => (outcome.refusal(), plan.as_ref().filter(|_| !dry_run)),
    };
    if let Some(refusal) = refusal {
        return Err(Problem::refused(refusal.clone()));
    }
    let json = serde_json::to_string(reply).expect("a reply has only string keys");
    let status = if opened.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = (status, headers, json).into_response();
    let location = opened.and_then(|plan| HeaderValue::from_str(&format!("/api/v1/plans/{}", plan.id)).ok());
    response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
    Ok(response)
}
