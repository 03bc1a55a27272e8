use std::sync::Arc;

use control_plane::http::public;
use decision::incident::Impact;
use decision::state::State;
use decision::verdict::Verdict;
use serde_json::{Value, json};

use crate::fixture::{Fixed, at, quiet, state};
use crate::get;

async fn document(state: State, name: &str) -> Value {
    get(&public(Fixed::new(state)), &format!("/api/v2/{name}.json")).await.json()
}

async fn assert_whole(name: &str, expected: &str) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    let got = document(state(), name).await;
    assert_eq!(got, expected, "got:\n{got:#}");
}

#[tokio::test]
async fn each_document_has_the_shape_of_statuspage_v2() {
    assert_whole("summary", include_str!("expected/summary.json")).await;
    assert_whole("status", include_str!("expected/status.json")).await;
    assert_whole("components", include_str!("expected/components.json")).await;
    assert_whole("incidents", include_str!("expected/incidents.json")).await;
    assert_whole("incidents/unresolved", include_str!("expected/unresolved.json")).await;
    let none = include_str!("expected/scheduled-maintenances.json");
    assert_whole("scheduled-maintenances", none).await;
    assert_whole("scheduled-maintenances/upcoming", none).await;
    assert_whole("scheduled-maintenances/active", none).await;
}

async fn line(state: State) -> (String, String) {
    let status = document(state, "status").await["status"].clone();
    let text = |field: &str| status[field].as_str().unwrap().to_owned();
    (text("indicator"), text("description"))
}

fn with_service(verdict: Verdict) -> State {
    let mut state = quiet();
    let placement = state.services.get_mut(&"app".into()).unwrap();
    placement.standing.get_mut(&"eu".into()).unwrap().verdict = verdict;
    state
}

fn with_region(verdict: Verdict) -> State {
    let mut state = quiet();
    state.regions.get_mut(&"us".into()).unwrap().verdict = verdict;
    state
}

async fn component(state: State, name: &str) -> Value {
    let components = document(state, "components").await["components"].clone();
    components.as_array().unwrap().iter().find(|component| component["name"] == name).unwrap().clone()
}

#[tokio::test]
async fn verdicts_become_what_they_mean_to_users() {
    for (verdict, status, indicator) in [
        (Verdict::Healthy, "operational", "none"),
        (Verdict::Degraded, "degraded_performance", "minor"),
        (Verdict::Partitioned, "partial_outage", "major"),
        (Verdict::Dead, "major_outage", "critical"),
        (Verdict::Unknown, "operational", "none"),
    ] {
        assert_eq!(component(with_service(verdict), "app").await["status"], status, "{verdict}");
        assert_eq!(component(with_service(verdict), "Services").await["status"], status, "{verdict}");
        assert_eq!(component(with_service(verdict), "web").await["status"], "operational");
        assert_eq!(line(with_service(verdict)).await.0, indicator, "{verdict}");
        assert_eq!(component(with_region(verdict), "us").await["status"], status, "{verdict}");
        // While all services run, a lost region is a minor matter.
        let expected = if status == "operational" { "none" } else { "minor" };
        assert_eq!(line(with_region(verdict)).await.0, expected, "{verdict}");
    }
    assert_eq!(line(quiet()).await, ("none".into(), "All systems operational".into()));
    assert_eq!(line(with_service(Verdict::Dead)).await.1, "Major outage: app");
    let reserve = "All services are running, with less reserve: outage of us";
    assert_eq!(line(with_region(Verdict::Dead)).await.1, reserve);
}

#[tokio::test]
async fn unknown_stays_what_it_was_last_known_to_be_and_says_so() {
    let app = component(with_service(Verdict::Unknown), "app").await;
    let told = "Served from eu; how it is now is not known (0 of 2 vantages find it unhealthy); no trouble was known before";
    assert_eq!(app["description"], told);
    assert_eq!(
        line(with_service(Verdict::Unknown)).await.1,
        "No outage is known, but not everything can be observed now"
    );

    let mut was_dead = with_service(Verdict::Unknown);
    was_dead.incidents = state().incidents;
    Arc::make_mut(&mut was_dead.incidents[1]).resolved_at = None;
    let app = component(was_dead.clone(), "app").await;
    assert_eq!(app["status"], "major_outage");
    assert!(app["description"].as_str().unwrap().ends_with("what is shown is what was last known"), "{app}");
    Arc::make_mut(&mut was_dead.incidents[1]).impact = Impact::Major;
    assert_eq!(component(was_dead, "app").await["status"], "partial_outage");
}

#[tokio::test]
async fn a_drained_region_is_under_maintenance_whatever_its_health() {
    for verdict in [Verdict::Healthy, Verdict::Dead] {
        let mut state = with_region(verdict);
        state.drained.insert("us".into(), "new disks".into());
        let region = component(state.clone(), "us").await;
        assert_eq!(region["status"], "under_maintenance");
        assert_eq!(region["description"], "Taken out of service on purpose: new disks");
        let expected = ("maintenance".into(), "All services are running; under maintenance: us".into());
        assert_eq!(line(state).await, expected);
    }
}

#[tokio::test]
async fn draining_shows_as_a_change_of_the_page() {
    let backend = Fixed::new(quiet());
    let router = public(backend.clone());
    backend.apply(decision::command::Command::Drain { region: "us".into(), why: "x".into() });
    let page = get(&router, "/api/v2/status.json").await.json()["page"].clone();
    // 12:01:30, the state's own time.
    assert_eq!(at(90).0 - at(0).0, 90_000);
    assert_eq!(page["updated_at"], "2026-03-01T12:01:30.000Z");
}

#[tokio::test]
async fn before_any_configuration_there_is_nothing_to_show() {
    let got = document(State::default(), "summary").await;
    assert_eq!(got["status"], json!({"indicator": "none", "description": "Nothing is configured yet"}));
    assert_eq!((&got["components"], &got["incidents"]), (&json!([]), &json!([])));
    assert_eq!(got["page"]["name"], "Regent");
}

#[tokio::test]
async fn ids_are_stable_distinct_and_of_the_usual_form() {
    let document = document(state(), "summary").await;
    let mut ids: Vec<&str> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["id"].as_str().unwrap())
        .collect();
    let count = ids.len();
    assert!(ids.iter().all(|id| id.len() == 12 && id.chars().all(|c| c.is_ascii_alphanumeric())), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
