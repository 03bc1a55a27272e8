//! The HTTP faces over a state made by hand.
#![allow(clippy::unwrap_used)]

mod fixture;
mod openapi;
mod page;
mod private;
mod public;
mod sse;
mod statuspage;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use wire::identity::{Identity, TrustDomain};
use wire::listen::Peer;

pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Got {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

pub(crate) async fn get(router: &Router, path: &str) -> Got {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

pub(crate) fn request(
    method: Method,
    path: &str,
    as_whom: Option<Identity>,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    if let Some(identity) = as_whom {
        let id = identity.in_domain(&TrustDomain::new("c1").unwrap()).unwrap();
        request.extensions_mut().insert(Peer { id, address: "127.0.0.1:1".parse().unwrap() });
    }
    request
}

pub(crate) fn operator() -> Option<Identity> {
    Some(Identity::Operator { name: "ann".into() })
}
