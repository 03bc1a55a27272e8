//! Questions. Each is answered from a state that a majority confirmed, or marked as stale.

use axum::extract::State as Face;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use decision::name::{RegionName, ServiceName};
use decision::time::{Time, rfc3339};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use wire::api::{Query, Status};

use super::parameters::{Asked, Named, Reading, flag, plan_id};
use crate::documents::Answer;
use crate::http::private::Shared;
use crate::http::problem::Problem;

const INDEX: HeaderName = HeaderName::from_static("regent-index");
const MEMBER: HeaderName = HeaderName::from_static("regent-member");
const STALE: HeaderName = HeaderName::from_static("regent-stale");
const AS_OF: HeaderName = HeaderName::from_static("regent-as-of");

/// Everything at a glance.
#[utoipa::path(get, path = "/api/v1/status", tag = "state", params(Reading), responses(
    (status = 200, description = "`Status`: members, regions, services with their databases, open plans", body = Object),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "No majority")))]
pub(in crate::http) async fn status(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    ask(&face, Query::Status, reading).await
}

/// The regions, in order of preference.
#[utoipa::path(get, path = "/api/v1/regions", tag = "state", params(Reading), responses(
    (status = 200, description = "`[RegionStatus]`: verdict, since when and why, agents", body = [Object])))]
pub(in crate::http) async fn regions(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    part(&face, reading, |status| status.regions).await
}

/// The services.
#[utoipa::path(get, path = "/api/v1/services", tag = "state", params(Reading), responses(
    (status = 200, description = "`[ServiceStatus]`: primary region, verdict, epoch, names, database", body = [Object])))]
pub(in crate::http) async fn services(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    part(&face, reading, |status| status.services).await
}

/// Open plans and the newest ended ones, newest first.
#[utoipa::path(get, path = "/api/v1/plans", tag = "plans", params(Reading), responses(
    (status = 200, description = "`[PlanRecord]`", body = [Object])))]
pub(in crate::http) async fn plans(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    ask(&face, Query::Plans, reading).await
}

/// One plan and how far it has come.
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "plans",
    params(("id" = String, Path, description = "`plan-7` or `7`"), Reading),
    responses((status = 200, description = "`PlanRecord`", body = Object),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such plan")))]
pub(in crate::http) async fn plan(
    Face(face): Face<Shared>,
    Named(id): Named,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    ask(&face, Query::Plan { id: plan_id(&id)? }, reading).await
}

#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Page {
    /// Entries after this sequence number; 0 for the oldest kept.
    #[serde(default)]
    after: u64,
    /// At most so many, up to 1000.
    #[serde(default = "hundred")]
    limit: u32,
    /// Take this controller's own word, however old, when no majority can be asked.
    #[serde(default, deserialize_with = "flag")]
    stale: bool,
}

fn hundred() -> u32 {
    100
}

/// The journal, a page at a time, oldest first.
#[utoipa::path(get, path = "/api/v1/journal", tag = "journal", params(Page), responses(
    (status = 200, description = "`JournalPage`: entries, the last sequence number, whether the chain verifies",
        body = Object)))]
pub(in crate::http) async fn journal(
    Face(face): Face<Shared>,
    Asked(page): Asked<Page>,
) -> Result<Response, Problem> {
    let query = Query::Journal { after: page.after, limit: page.limit };
    ask(&face, query, Reading { stale: page.stale }).await
}

/// The configuration in force and its generation.
#[utoipa::path(get, path = "/api/v1/config", tag = "configuration", params(Reading), responses(
    (status = 200, description = "`ConfigDocument`", body = Object)))]
pub(in crate::http) async fn config(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    ask(&face, Query::Config, reading).await
}

/// Incidents, newest first, as the state holds them.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "state", params(Reading), responses(
    (status = 200, description = "`[Incident]`", body = [Object])))]
pub(in crate::http) async fn incidents(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    ask(&face, Query::Incidents, reading).await
}

/// Drills, newest first, with their reports.
#[utoipa::path(get, path = "/api/v1/drills", tag = "drills", params(Reading), responses(
    (status = 200, description = "`[Drill]`", body = [Object])))]
pub(in crate::http) async fn drills(
    Face(face): Face<Shared>,
    Asked(reading): Asked<Reading>,
) -> Result<Response, Problem> {
    ask(&face, Query::Drills, reading).await
}

/// What would happen if a region were lost now, step by step, or why nothing would.
#[utoipa::path(get, path = "/api/v1/what-if/{region}", tag = "plans",
    params(("region" = String, Path, description = "The region supposed lost")),
    responses((status = 200, description = "`WhatIf`: plans, and for every service why", body = Object),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such region")))]
pub(in crate::http) async fn what_if(
    Face(face): Face<Shared>,
    Named(region): Named,
) -> Result<Response, Problem> {
    ask(&face, Query::IfLost { region: RegionName(region) }, Reading::default()).await
}

/// Why a service is moved, or left where it is.
#[utoipa::path(get, path = "/api/v1/explain/{service}", tag = "plans",
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, description = "`Explanation`: rules tried, evidence, rejected regions", body = Object),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such service")))]
pub(in crate::http) async fn explain(
    Face(face): Face<Shared>,
    Named(service): Named,
) -> Result<Response, Problem> {
    ask(&face, Query::Explain { service: ServiceName(service) }, Reading::default()).await
}

/// The leases of all databases, by the leader's count.
#[utoipa::path(get, path = "/api/v1/leases", tag = "state",
    responses((status = 200, description = "`{SERVICE: LeaseStatus}`: epoch, what is left, last renewal", body = Object)))]
pub(in crate::http) async fn leases(Face(face): Face<Shared>) -> Result<Response, Problem> {
    ask(&face, Query::Leases, Reading::default()).await
}

async fn ask(face: &Shared, query: Query, reading: Reading) -> Result<Response, Problem> {
    let answer = face.backend.query(query, reading.stale).await?;
    Ok(document(&answer, answer.json.clone()))
}

/// A part of the status, as sure as the whole.
async fn part<T: Serialize>(
    face: &Shared,
    reading: Reading,
    part: impl FnOnce(Status) -> Vec<T>,
) -> Result<Response, Problem> {
    let answer = face.backend.query(Query::Status, reading.stale).await?;
    let json =
        serde_json::from_slice(&answer.json).and_then(|status| serde_json::to_vec(&part(status))).map_err(
            |error| crate::documents::ApiError::Unknown(format!("the status cannot be read: {error}")),
        )?;
    Ok(document(&answer, json))
}

fn document(answer: &Answer, json: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (INDEX, HeaderValue::from(answer.index)),
        (MEMBER, HeaderValue::from(answer.member)),
        (STALE, HeaderValue::from_static(if answer.stale { "true" } else { "false" })),
        (AS_OF, as_of(answer.as_of)),
    ];
    (headers, json).into_response()
}

fn as_of(at: Time) -> HeaderValue {
    HeaderValue::from_str(&rfc3339(at)).expect("a moment is plain ASCII")
}
