use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use control_plane::http::public;
use decision::command::Command;
use serde_json::json;

use crate::fixture::{Fixed, state};
use crate::{get, operator, request, send};

#[tokio::test]
async fn a_reader_who_has_the_document_gets_304_until_it_changes() {
    let backend = Fixed::new(state());
    let router = public(backend.clone());
    let first = get(&router, "/api/v2/summary.json").await;
    assert_eq!(first.status, StatusCode::OK);
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");

    let again = |etag: &str| {
        Request::get("/api/v2/summary.json").header("if-none-match", etag).body(Body::empty()).unwrap()
    };
    let same = send(&router, again(&etag)).await;
    assert_eq!(
        (same.status, same.body.as_str(), same.header("etag")),
        (StatusCode::NOT_MODIFIED, "", &*etag)
    );
    assert_eq!(same.header("access-control-allow-origin"), "*");

    // Shows nothing of it: the same bytes, the same tag.
    backend.apply(Command::Note { text: "nothing to see".into() });
    assert_eq!(send(&router, again(&etag)).await.status, StatusCode::NOT_MODIFIED);

    backend.apply(Command::Drain { region: "eu".into(), why: "cables".into() });
    let changed = send(&router, again(&etag)).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), etag);
    assert!(changed.body.contains("cables"));
}

#[tokio::test]
async fn documents_may_be_read_from_any_page_and_kept_briefly() {
    let backend = Fixed::new(state());
    let router = public(backend.clone());
    for path in control_plane::http::public_paths().into_iter().filter(|path| path.starts_with("/api/v2/")) {
        let got = get(&router, path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        assert_eq!(got.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(got.header("access-control-allow-origin"), "*");
        assert_eq!(got.header("cache-control"), "public, max-age=2");
        assert_eq!(got.header("age"), "0");
        let head = send(&router, Request::head(path).body(Body::empty()).unwrap()).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.header("content-length"), got.body.len().to_string());
        assert_eq!(head.header("etag"), got.header("etag"));
        let preflight = send(&router, request(Method::OPTIONS, path, None, Body::empty())).await;
        assert_eq!(preflight.status, StatusCode::NO_CONTENT);
        assert_eq!(preflight.header("access-control-allow-headers"), "If-None-Match");
    }
    backend.age_ms.store(42_999, Ordering::Relaxed);
    assert_eq!(get(&router, "/api/v2/status.json").await.header("age"), "42");
}

#[tokio::test]
async fn only_the_public_routes_are_anonymous() {
    let backend = Fixed::new(state());
    let router = public(backend.clone());
    let mut paths = control_plane::http::private_paths();
    paths.retain(|path| *path != "/api/v1/openapi.json");
    paths.extend(["/api/v1", "/api/v1/anything/else"]);
    for path in paths {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            // A certificate is not looked at here: this listener has no TLS.
            let got = send(&router, request(method.clone(), path, operator(), "{}")).await;
            assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(got.header("content-type"), "application/problem+json");
            assert!(!got.header("www-authenticate").is_empty());
            let problem = got.json();
            assert_eq!((&problem["status"], &problem["code"]), (&json!(401), &json!("operators_only")));
            assert!(problem["detail"].as_str().unwrap().contains("mutual-TLS address"), "{problem}");
        }
    }
    assert!(backend.wishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let router = public(Fixed::new(state()));
    let got = get(&router, "/api/v2/nothing.json").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert_eq!(
        got.json(),
        json!({
            "title": "Not Found", "status": 404, "code": "not_found",
            "detail": "there is nothing at /api/v2/nothing.json; /api/v1/openapi.json lists all there is",
        })
    );
    let got = send(&router, request(Method::POST, "/api/v2/summary.json", None, "{}")).await;
    assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(got.json()["code"], "method_not_allowed");
    assert!(got.header("allow").contains("GET"), "{:?}", got.headers);
}

#[tokio::test]
async fn health_and_readiness() {
    let backend = Fixed::new(state());
    let router = public(backend.clone());
    assert_eq!(get(&router, "/healthz").await.body, "ok\n");
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    *backend.ready.lock().unwrap() = Err("no leader is known".into());
    let got = get(&router, "/readyz").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.json()["detail"], "no leader is known");
    assert_eq!(get(&router, "/healthz").await.status, StatusCode::OK);
}
