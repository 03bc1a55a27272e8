//! Errors as problem details (RFC 9457): what happened, what was left as it was, what to do.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use decision::command::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::documents::ApiError;

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// The HTTP status in words.
    title: &'static str,
    status: u16,
    /// Which problem it is, for programs.
    code: &'static str,
    /// What happened and what to do, for people.
    detail: String,
    /// The safety rule's own words, with what it compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    refusal: Option<Box<Refusal>>,
    #[serde(skip)]
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            refusal: None,
            header: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(super) fn refused(refusal: Refusal) -> Problem {
        let status = match refusal {
            Refusal::Unknown { .. } => StatusCode::NOT_FOUND,
            Refusal::TooLong { .. } | Refusal::Contradictory { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::CONFLICT,
        };
        let problem = Problem::new(status, "refused", refusal.to_string());
        Problem { refusal: Some(Box::new(refusal)), ..problem }
    }

    fn with_header(self, name: HeaderName, value: &'static str) -> Problem {
        Problem { header: Some((name, value)), ..self }
    }

    fn try_again(self) -> Problem {
        self.with_header(header::RETRY_AFTER, "1")
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Problem {
        let detail = error.to_string();
        match error {
            ApiError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", detail),
            ApiError::Invalid(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            ApiError::Unavailable(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).try_again()
            }
            // Asking again could do it twice: let a person, or a program that reads first, decide.
            ApiError::Unknown(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self).expect("a problem has only string keys");
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (status, headers, body).into_response();
        let header = self.header.map(|(name, value)| (name, HeaderValue::from_static(value)));
        response.headers_mut().extend(header);
        response
    }
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is nothing at {}; /api/v1/openapi.json lists all there is", uri.path()),
    )
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}; /api/v1/openapi.json says what it takes", uri.path()),
    )
}

/// On the public address, for everything that only operators may have.
pub(super) async fn operators_only(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "operators_only",
        format!(
            "{} is for operators: ask at this controller's mutual-TLS address (its gRPC port) with an operator's \
             certificate, or use the `failover` command; anybody may read / and /api/v2/summary.json",
            uri.path()
        ),
    )
    .with_header(header::WWW_AUTHENTICATE, "Mutual-TLS realm=\"regent\"")
}
