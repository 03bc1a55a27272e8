use std::sync::Arc;
use std::sync::atomic::Ordering;

use control_plane::http::public;
use decision::incident::{Impact, Incident, IncidentStatus, Subject, Update};
use decision::verdict::Verdict;

use crate::fixture::{Fixed, at, quiet, state};
use crate::get;

#[tokio::test]
async fn the_page_shows_services_regions_and_incidents_without_scripts() {
    let got = get(&public(Fixed::new(state())), "/").await;
    for shown in [
        "<title>Degraded performance: web — Example</title>",
        "<span class=\"name\">app</span>",
        "Served from eu",
        "Major outage",
        "Under maintenance",
        "Taken out of service on purpose: new disks",
        "Degraded performance of web",
        "web in eu: healthy → degraded: 1 of 2 vantages find it unhealthy",
        "Outage of app",
        "resolved after 3s",
        "app is served from eu",
        "Data was current at <time datetime=\"2026-03-01T12:01:39.000Z\">2026-03-01 12:01:39 UTC</time>",
    ] {
        assert!(got.body.contains(shown), "{shown}\n{}", got.body);
    }
    assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
    assert!(!got.body.contains("vote"), "a witness serves nobody");
}

#[tokio::test]
async fn stale_data_is_warned_of_in_the_page_itself() {
    let backend = Fixed::new(state());
    let router = public(backend.clone());
    assert!(get(&router, "/").await.body.contains("role=\"alert\" hidden>"));
    backend.age_ms.store(61_500, Ordering::Relaxed);
    let got = get(&router, "/").await.body;
    assert!(got.contains("role=\"alert\">This may be out of date"), "{got}");
    assert!(got.contains("Its data is 61s old."), "{got}");
    assert!(got.contains("data-age=\"61\""));
}

#[tokio::test]
async fn the_script_asks_by_the_tag_of_the_summary_shown() {
    let router = public(Fixed::new(state()));
    let etag = get(&router, "/api/v2/summary.json").await.header("etag").replace('"', "&quot;");
    assert!(get(&router, "/").await.body.contains(&format!("data-etag=\"{etag}\"")));
}

/// What others wrote: names from the configuration, reasons of operators and probes.
#[tokio::test]
async fn nothing_others_wrote_becomes_markup() {
    const EVIL: &str = "</p></style><script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;";
    let mut state = quiet();
    let config = std::sync::Arc::make_mut(state.config.as_mut().unwrap());
    config.status_page.name = EVIL.into();
    config.status_page.url = EVIL.into();
    config.regions[0].name = EVIL.into();
    state.drained.insert(EVIL.into(), EVIL.into());
    let mut placement = state.services.remove(&"app".into()).unwrap();
    let mut standing = placement.standing.remove(&"eu".into()).unwrap();
    (standing.verdict, standing.because) = (Verdict::Dead, EVIL.into());
    (placement.primary, placement.standing) = (EVIL.into(), [(EVIL.into(), standing)].into());
    state.services.insert(EVIL.into(), placement);
    for (n, resolved_at) in [(1, None), (2, Some(at(3)))] {
        state.incidents.push(Arc::new(Incident {
            id: n,
            subject: Subject::Service(EVIL.into()),
            impact: Impact::Critical,
            status: IncidentStatus::Identified,
            opened_at: at(1),
            updated_at: at(2),
            resolved_at,
            updates: vec![Update {
                seq: n,
                at: at(1),
                status: IncidentStatus::Identified,
                body: EVIL.into(),
            }],
        }));
    }
    let html = get(&public(Fixed::new(state)), "/").await.body;
    assert_eq!(html.matches("<script").count(), 1, "its own");
    assert_eq!(html.matches("</style").count(), 1, "its own");
    assert!(!html.contains("<img"), "{html}");
    assert!(html.matches("&lt;script&gt;alert(&#39;x&#39;)").count() >= 8, "{html}");
}

#[tokio::test]
async fn the_browser_may_run_only_what_is_in_the_page() {
    let got = get(&public(Fixed::new(state())), "/").await;
    let policy = got.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    for forbidden in ["unsafe-inline", "unsafe-eval", "http:", "https:", "*"] {
        assert!(!policy.contains(forbidden), "{policy}");
    }
    // Nothing is loaded from anywhere, and nothing inline escapes the hashes.
    for forbidden in [" style=", " onclick", "src=", "@import", "url("] {
        assert!(!got.body.contains(forbidden), "{forbidden}");
    }
}
