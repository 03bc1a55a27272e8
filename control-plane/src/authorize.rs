//! Who may call what. One table; what it does not grant is refused.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures::future::{Either, Ready, ready};
use http::{Request, StatusCode};
use tower_service::Service;
use wire::identity::Role;
use wire::listen::Peer;

/// Paths by how they begin, and a role that may call them.
pub const GRANTS: [(&str, Role); 8] = [
    ("/regent.raft.v1.Raft/", Role::Controller),
    ("/regent.v1.Members/", Role::Controller),
    ("/regent.v1.Agents/", Role::Agent),
    ("/regent.v1.Drills/", Role::Agent),
    ("/regent.v1.Drills/", Role::Controller),
    ("/regent.v1.Operator/", Role::Operator),
    ("/api/v1/", Role::Operator),
    ("/metrics", Role::Operator),
];

pub fn is_granted(role: Role, path: &str) -> bool {
    GRANTS.iter().any(|(prefix, granted)| path.starts_with(prefix) && *granted == role)
}

/// Refuses before anything is read.
#[derive(Clone)]
pub struct Authorize<S>(pub S);

impl<S, B> Service<Request<B>> for Authorize<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let role = request.extensions().get::<Peer>().map(|peer| peer.id.identity.role());
        let path = request.uri().path();
        match role {
            Some(role) if is_granted(role, path) => Either::Left(self.0.call(request)),
            role => {
                let who =
                    role.map_or_else(|| "nobody".to_owned(), |role| format!("a certificate of role {role}"));
                tracing::warn!(who, path, "refused");
                Either::Right(ready(Ok(refusal(&request, &who))))
            }
        }
    }
}

fn refusal<B>(request: &Request<B>, who: &str) -> Response {
    let text = format!("{who} may not call {}", request.uri().path());
    let is_grpc = request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return tonic::Status::permission_denied(text).into_http::<Body>();
    }
    (StatusCode::FORBIDDEN, text).into_response()
}
