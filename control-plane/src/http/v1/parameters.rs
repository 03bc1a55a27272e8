//! What requests carry: parameters and bodies, read strictly, so that a misspelt one is an error
//! and not silently without effect.

use axum::extract::FromRequest;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use decision::plan::PlanId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::http::problem::Problem;

/// The query string.
pub(in crate::http) struct Asked<T>(pub(super) T);

/// A segment of the path.
pub(in crate::http) struct Named(pub(super) String);

/// A JSON body. Required to be called JSON even when it is empty: a page elsewhere can then not make
/// an operator's browser send it (only "simple" requests go out unasked, and JSON is none).
pub(in crate::http) struct Body<T>(pub(super) T);

#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Reading {
    /// Take this controller's own word, however old, when no majority can be asked.
    #[serde(default, deserialize_with = "flag")]
    pub(super) stale: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct Acting {
    /// Say what would happen, and change nothing.
    #[serde(default, deserialize_with = "flag")]
    pub(super) dry_run: bool,
}

/// A bare `?dry_run` means yes.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let text = String::deserialize(from)?;
    match text.as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(serde::de::Error::custom(format!("{text:?} is neither true nor false"))),
    }
}

/// `plan-7` or `7`.
pub(super) fn plan_id(text: &str) -> Result<PlanId, Problem> {
    let number = text.strip_prefix("plan-").unwrap_or(text);
    number
        .parse()
        .map(PlanId)
        .map_err(|_| Problem::bad_request(format!("{text:?} is no plan; write plan-7, or 7")))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        asked
            .map(|Query(asked)| Asked(asked))
            .map_err(|rejection: QueryRejection| Problem::bad_request(rejection.body_text()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        named
            .map(|Path(name)| Named(name))
            .map_err(|rejection: PathRejection| Problem::bad_request(rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "nothing was changed: send `content-type: application/json`, also with an empty body",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Body).map_err(|error| {
            Problem::bad_request(format!("nothing was changed: the body does not fit: {error}"))
        })
    }
}

fn unread(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "nothing was changed: a body may be 1 MiB long",
        ),
        _ => Problem::bad_request(rejection.body_text()),
    }
}
