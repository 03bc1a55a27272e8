use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use control_plane::http::private;
use decision::name::AgentId;
use serde_json::json;
use wire::api::Intent;
use wire::identity::Identity;

use crate::fixture::{Fixed, config, state};
use crate::{Got, operator, request, send};

async fn ask(router: &Router, path: &str) -> Got {
    send(router, request(Method::GET, path, operator(), Body::empty())).await
}

async fn wish(router: &Router, path: &str, body: impl Into<Body>) -> Got {
    let mut request = request(Method::POST, path, operator(), body);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    send(router, request).await
}

#[tokio::test]
async fn only_an_operators_certificate_opens_it() {
    let backend = Fixed::new(state());
    let router = private(backend.clone());
    let agent = Identity::Agent(AgentId::new("eu", 1));
    let controller = Identity::Controller { region: "eu".into(), member: 2 };
    for path in control_plane::http::private_paths().into_iter().chain(["/api/v1", "/api/v1/nothing"]) {
        for method in [Method::GET, Method::POST] {
            for (identity, expected) in [
                (Some(agent.clone()), [StatusCode::FORBIDDEN; 2]),
                (Some(controller.clone()), [StatusCode::FORBIDDEN; 2]),
                (None, [StatusCode::UNAUTHORIZED; 2]),
            ] {
                let got = send(&router, request(method.clone(), path, identity.clone(), "{}")).await;
                // What the path does not take at all is refused to anybody.
                if got.status == StatusCode::METHOD_NOT_ALLOWED {
                    continue;
                }
                assert!(expected.contains(&got.status), "{method} {path} {identity:?}: {}", got.status);
                assert_eq!(got.header("content-type"), "application/problem+json");
                assert_eq!(got.json()["code"], "operators_only");
            }
        }
    }
    assert!(backend.wishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_status_document_whole() {
    let got = ask(&private(Fixed::new(state())), "/api/v1/status").await;
    let expected: serde_json::Value = serde_json::from_str(include_str!("expected/v1-status.json")).unwrap();
    assert_eq!(got.json(), expected, "got:\n{:#}", got.json());
    let sure = ["regent-index", "regent-member", "regent-stale", "regent-as-of"].map(|name| got.header(name));
    assert_eq!(sure, ["40", "2", "false", "2026-03-01T12:01:30.000Z"]);
}

#[tokio::test]
async fn questions_reach_the_controller_as_asked() {
    let router = private(Fixed::new(state()));
    for (path, expected) in [
        ("/api/v1/plans", json!({"query": "plans"})),
        ("/api/v1/journal", json!({"query": "journal", "after": 0, "limit": 100})),
        ("/api/v1/journal?after=7&limit=3", json!({"query": "journal", "after": 7, "limit": 3})),
        ("/api/v1/config", json!({"query": "config"})),
        ("/api/v1/incidents", json!({"query": "incidents"})),
        ("/api/v1/drills", json!({"query": "drills"})),
        ("/api/v1/what-if/eu", json!({"query": "if_lost", "region": "eu"})),
        ("/api/v1/explain/my%20app", json!({"query": "explain", "service": "my app"})),
    ] {
        assert_eq!(ask(&router, path).await.json(), expected, "{path}");
    }
    let whole = ask(&router, "/api/v1/status").await.json();
    assert_eq!(ask(&router, "/api/v1/regions").await.json(), whole["regions"]);
    assert_eq!(ask(&router, "/api/v1/services").await.json(), whole["services"]);
    for path in ["/api/v1/plans/plan-7", "/api/v1/plans/7"] {
        let got = ask(&router, path).await;
        assert_eq!(
            (got.status, got.json()["detail"].clone()),
            (StatusCode::NOT_FOUND, json!("there is no plan-7"))
        );
    }
}

#[tokio::test]
async fn without_a_majority_only_who_asks_for_it_gets_stale_data() {
    let backend = Fixed::new(state());
    *backend.quorum.lock().unwrap() = false;
    let router = private(backend);
    let got = ask(&router, "/api/v1/status").await;
    assert_eq!((got.status, got.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(
        got.json(),
        json!({"title": "Service Unavailable", "status": 503, "code": "unavailable",
            "detail": "no majority of controllers answers; nothing was changed"})
    );
    for path in ["/api/v1/status?stale", "/api/v1/status?stale=true", "/api/v1/regions?stale=1"] {
        let got = ask(&router, path).await;
        assert_eq!((got.status, got.header("regent-stale")), (StatusCode::OK, "true"));
    }
}

#[tokio::test]
async fn misspelt_requests_are_errors() {
    let backend = Fixed::new(state());
    let router = private(backend.clone());
    for path in [
        "/api/v1/status?stael=true",
        "/api/v1/status?stale=maybe",
        "/api/v1/journal?after=-1",
        "/api/v1/plans/seven",
    ] {
        assert_eq!(ask(&router, path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    for (path, body) in [
        ("/api/v1/pause?dryrun", "{}"),
        ("/api/v1/pause", "{\"why\": \"x\"}"),
        ("/api/v1/pause", "{\"reason\": 7}"),
        ("/api/v1/pause", "not json"),
        ("/api/v1/plans/x/approve", "{}"),
        ("/api/v1/config", "{}"),
    ] {
        let got = wish(&router, path, body).await;
        assert_eq!(
            (got.status, &got.json()["code"]),
            (StatusCode::BAD_REQUEST, &json!("bad_request")),
            "{path} {body}"
        );
    }
    assert_eq!(ask(&router, "/api/v1/nothing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&router, "/api/v1/pause").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(backend.wishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn wishes_reach_the_controller_with_who_asked() {
    let backend = Fixed::new(state());
    let router = private(backend.clone());
    let reason = "{\"reason\": \"disks\"}";
    let config_body = json!({"parent_generation": 1, "config": config()}).to_string();
    let all: Vec<(&str, &str, Intent)> = vec![
        ("/api/v1/pause", reason, Intent::Pause { why: "disks".into() }),
        ("/api/v1/regions/eu/drain", reason, Intent::Drain { region: "eu".into(), why: "disks".into() }),
        ("/api/v1/regions/eu/undrain", "", Intent::Undrain { region: "eu".into() }),
        ("/api/v1/plans/plan-3/approve", "", Intent::Approve { plan: decision::plan::PlanId(3) }),
        (
            "/api/v1/plans/3/cancel",
            reason,
            Intent::Cancel { plan: decision::plan::PlanId(3), why: "disks".into() },
        ),
        (
            "/api/v1/services/app/failback?dry_run",
            reason,
            Intent::Failback { service: "app".into(), reason: "disks".into(), dry_run: true },
        ),
        (
            "/api/v1/services/app/failover?dry_run",
            "{\"to\": \"eu\", \"allow_data_loss\": true, \"reason\": \"disks\"}",
            Intent::Failover {
                service: "app".into(),
                to: Some("eu".into()),
                allow_data_loss: true,
                reason: "disks".into(),
                dry_run: true,
            },
        ),
        (
            "/api/v1/services/app/reinit",
            "{\"region\": \"eu\"}",
            Intent::Reinit { service: "app".into(), region: "eu".into() },
        ),
        (
            "/api/v1/config",
            &config_body,
            Intent::SetConfig { parent_generation: 1, config: Box::new(config()) },
        ),
    ];
    for (path, body, expected) in all {
        let got = wish(&router, path, body.to_owned()).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.body);
        let wished = backend.wishes.lock().unwrap().pop();
        assert_eq!(wished, Some((expected, "operator/ann".to_owned())), "{path}");
    }
    let opened = wish(&router, "/api/v1/services/app/switchover", "{\"to\": \"ap\"}").await;
    assert_eq!((opened.status, opened.header("location")), (StatusCode::ACCEPTED, "/api/v1/plans/plan-1"));
    let dry = wish(&router, "/api/v1/services/app/switchover?dry_run", "{}").await;
    assert_eq!((dry.status, dry.header("location")), (StatusCode::OK, ""));
    assert_eq!(dry.json()["plan"]["to"], "ap");
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_the_rules_own_words() {
    let router = private(Fixed::new(state()));
    let got = wish(&router, "/api/v1/resume", "").await;
    assert_eq!(got.header("content-type"), "application/problem+json");
    assert_eq!(
        got.json(),
        json!({"title": "Conflict", "status": 409, "code": "refused", "detail": "automation is paused: because",
            "refusal": {"refusal": "paused", "why": "because"}})
    );
    let got = wish(&router, "/api/v1/regions/mars/drain", "").await;
    assert_eq!(
        (got.status, got.json()["detail"].clone()),
        (StatusCode::NOT_FOUND, json!("there is no region mars"))
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let backend = Fixed::new(state());
    let before = backend.state.lock().unwrap().clone();
    let router = private(backend.clone());
    let got = wish(&router, "/api/v1/regions/eu/drain?dry_run=true", "").await;
    assert_eq!(
        got.json(),
        json!({"reply": "done", "outcome": {"outcome": "applied", "seq": 1}, "plan": null})
    );
    let got = wish(&router, "/api/v1/regions/ap/drain?dry_run", "").await;
    assert_eq!(got.json()["outcome"], json!({"outcome": "unchanged"}));
    let got = wish(&router, "/api/v1/regions/mars/drain?dry_run", "").await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    let mut contradictory = config();
    contradictory.strategy.detection_timeout = Duration::from_millis(1);
    let body = json!({"parent_generation": 1, "config": contradictory}).to_string();
    let got = wish(&router, "/api/v1/config?dry_run", body).await;
    assert_eq!(
        (got.status, &got.json()["refusal"]["refusal"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("contradictory"))
    );
    assert_eq!(*backend.state.lock().unwrap(), before);
    assert!(backend.wishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_page_elsewhere_cannot_make_a_browser_act() {
    let backend = Fixed::new(state());
    let router = private(backend.clone());
    for content_type in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data")]
    {
        let mut request = request(Method::POST, "/api/v1/pause", operator(), "{\"reason\": \"x\"}");
        if let Some(content_type) = content_type {
            request.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        assert_eq!(send(&router, request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    assert!(backend.wishes.lock().unwrap().is_empty());
    let preflight = send(&router, request(Method::OPTIONS, "/api/v1/pause", operator(), "")).await;
    assert_eq!(preflight.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_body_over_1_mib_is_refused() {
    let backend = Fixed::new(state());
    let router = private(backend.clone());
    let body = format!("{{\"reason\": \"{}\"}}", "x".repeat(1024 * 1024));
    let declared = wish(&router, "/api/v1/pause", body.clone()).await;
    // Without a declared length it is counted as it comes.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        body.as_bytes().chunks(8192).map(|c| Ok(c.to_vec())).collect();
    let streamed = wish(&router, "/api/v1/pause", Body::from_stream(futures::stream::iter(chunks))).await;
    for got in [declared, streamed] {
        assert_eq!(
            (got.status, got.json()["code"].clone()),
            (StatusCode::PAYLOAD_TOO_LARGE, json!("too_large"))
        );
    }
    assert!(backend.wishes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn metrics_have_base_units_and_one_prefix() {
    let got = ask(&private(Fixed::new(state())), "/metrics").await;
    assert_eq!(got.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for line in [
        "regent_data_age_seconds 0.3",
        "regent_raft_term 3",
        "regent_raft_voters 3",
        "regent_log_applied_index 40",
        "regent_journal_entries_total 0",
        "regent_incidents_open 1",
        "regent_region_verdict{region=\"us\",verdict=\"dead\"} 1",
        "regent_region_verdict{region=\"us\",verdict=\"healthy\"} 0",
        "regent_region_drained{region=\"ap\"} 1",
        "regent_service_primary{service=\"app\",region=\"eu\"} 1",
        "regent_service_epoch{service=\"app\"} 2",
        "regent_agent_session_live{region=\"eu\",agent=\"eu/1\"} 0",
    ] {
        assert!(got.body.lines().any(|found| found == line), "{line}\n{}", got.body);
    }
    assert!(
        got.body.lines().all(|line| line.starts_with("regent_") || line.starts_with("# ")),
        "{}",
        got.body
    );
    assert!(got.body.ends_with("# EOF\n"));
}

/// The lead merges it with gRPC, which has a fallback of its own.
#[tokio::test]
async fn it_merges_with_the_grpc_services() {
    let grpc = tonic::service::Routes::default().into_axum_router();
    let router = grpc.merge(private(Fixed::new(state())));
    assert_eq!(ask(&router, "/api/v1/status").await.status, StatusCode::OK);
    let other = send(&router, Request::post("/regent.v1.Nothing/At").body(Body::empty()).unwrap()).await;
    assert_eq!(other.header("grpc-status"), "12");
}
