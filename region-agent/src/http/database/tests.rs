use std::time::Duration;

use decision::database::{InstanceReport, InstanceRole};
use decision::goal::DatabaseRole;
use decision::plan::Epoch;

use super::*;
use crate::instances::tests::{replica, report};
use crate::relay::tests::goal;

fn ask(goals: &[DatabaseGoal], standing: Option<&Standing>, path: &str) -> Option<Answer> {
    let standing = |_: &ServiceName| standing.cloned();
    let databases = Databases { goals, region: &"eu".into(), standing: &standing };
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    answer(&databases, &Method::GET, path, query)
}

#[test]
fn who_may_be_sent_what() {
    let primary = |epoch| report(InstanceRole::Primary { epoch: Epoch(epoch) });
    let parted = InstanceReport { role: InstanceRole::Replica { streaming: false }, ..replica(0, 0) };
    let mut yielding = goal(Some("eu"), 7);
    yielding.role = DatabaseRole::Yield { to: None };
    let (here, there, vacant) = (goal(Some("eu"), 7), goal(Some("us"), 7), goal(None, 7));
    let (now, ttl, long) = (Duration::ZERO, here.wished.lease.ttl, Duration::from_secs(5));
    // Whether it may be written to, is a replica to read, may be read, is up.
    let table = [
        ("primary", &here, Some((primary(7), now)), [true, false, true, true]),
        ("primary when last looked at", &here, Some((primary(7), ttl)), [false, false, false, true]),
        ("primary of an older lease", &here, Some((primary(6), now)), [false, false, false, true]),
        ("primary, by itself alone", &there, Some((primary(7), now)), [false, false, false, true]),
        ("primary, and fenced", &vacant, Some((primary(7), now)), [false, false, false, true]),
        ("primary, about to end", &yielding, Some((primary(7), now)), [false, false, false, true]),
        ("a fresh replica", &there, Some((replica(10, 9), now)), [false, true, true, true]),
        ("of nobody now", &vacant, Some((replica(10, 9), now)), [false, true, true, true]),
        ("to be primary", &here, Some((replica(10, 9), now)), [false, true, true, true]),
        ("far behind", &there, Some((replica(10, FRESH_BYTES + 1), now)), [false, false, false, true]),
        ("silent for long", &there, Some((replica(5_000, 9), now)), [false, false, false, true]),
        ("not looked at for long", &there, Some((replica(10, 9), long)), [false; 4]),
        ("not streaming", &there, Some((parted, now)), [false, false, false, true]),
        ("starting", &here, Some((report(InstanceRole::Starting), now)), [false; 4]),
        ("ended", &here, Some((report(InstanceRole::Stopped { clean: true }), now)), [false; 4]),
        ("not there", &there, Some((report(InstanceRole::Absent), now)), [false; 4]),
        ("broken", &there, Some((report(InstanceRole::Broken), now)), [false; 4]),
        ("unknown", &here, None, [false; 4]),
    ];
    for (what, goal, seen, wanted) in table {
        let standing = seen.map(|(report, age)| Standing { report, replay_lag: Duration::ZERO, age });
        let goals = std::slice::from_ref(goal);
        let passes = |path: &str| {
            let answer = ask(goals, standing.as_ref(), path).unwrap();
            assert_eq!(answer, ask(goals, standing.as_ref(), &format!("/app{path}")).unwrap());
            assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status), "{what}");
            answer.status == StatusCode::OK
        };
        assert_eq!(["/primary", "/replica", "/read-only", "/health"].map(passes), wanted, "{what}");
        assert_eq!(passes("/read-write"), wanted[0], "{what}");
    }
}

#[test]
fn it_says_how_the_instance_stands() {
    let goals = [goal(Some("us"), 7)];
    let standing =
        Standing { report: replica(10, 9), replay_lag: Duration::ZERO, age: Duration::from_millis(3) };
    let body = ask(&goals, Some(&standing), "/replica").unwrap().body;
    let expected = r#"{"epoch":7,"lag_bytes":9,"lag_ms":13,"lsn":"1/0","role":"replica","service":"app","timeline":3,"writer":"us"}"#;
    assert_eq!(body, expected);
    let body = ask(&goals, None, "/replica").unwrap().body;
    let expected = r#"{"epoch":7,"lag_bytes":null,"lag_ms":null,"lsn":null,"role":"unknown","service":"app","timeline":null,"writer":"us"}"#;
    assert_eq!(body, expected);
}

#[test]
fn a_bound_of_lag_may_be_given() {
    let goals = [goal(Some("us"), 7)];
    let behind =
        |bytes| Standing { report: replica(0, bytes), replay_lag: Duration::ZERO, age: Duration::ZERO };
    let table = [
        ("lag=0", 0, StatusCode::OK),
        ("lag=0", 1, StatusCode::SERVICE_UNAVAILABLE),
        ("lag=1024", 1 << 10, StatusCode::OK),
        ("lag=1kB", 1025, StatusCode::SERVICE_UNAVAILABLE),
        ("other=1&lag=64MB", 64 << 20, StatusCode::OK),
        ("lag=64MB", (64 << 20) + 1, StatusCode::SERVICE_UNAVAILABLE),
        ("lag=1gb", 1 << 30, StatusCode::OK),
        ("lag=18446744073709551615", 1 << 30, StatusCode::OK),
        ("lag", 0, StatusCode::OK),
        ("lag=", 0, StatusCode::BAD_REQUEST),
        ("lag=MB", 0, StatusCode::BAD_REQUEST),
        ("lag=-1", 0, StatusCode::BAD_REQUEST),
        ("lag=1.5MB", 0, StatusCode::BAD_REQUEST),
        ("lag=1 fortnight", 0, StatusCode::BAD_REQUEST),
        ("lag=99999999999TB", 0, StatusCode::BAD_REQUEST),
    ];
    for (query, bytes, wanted) in table {
        for path in ["replica", "read-only"] {
            let answer = ask(&goals, Some(&behind(bytes)), &format!("/{path}?{query}")).unwrap();
            assert_eq!(answer.status, wanted, "{query}, {bytes} behind: {}", answer.body);
        }
    }
}

#[test]
fn the_short_form_is_for_a_single_database() {
    let (app, mut shop) = (goal(Some("us"), 7), goal(Some("us"), 7));
    shop.service = "shop".into();
    let standing = Standing { report: replica(0, 0), replay_lag: Duration::ZERO, age: Duration::ZERO };
    let two = [app, shop];
    let status =
        |goals: &[DatabaseGoal], path: &str| ask(goals, Some(&standing), path).map(|found| found.status);
    assert_eq!(status(&two, "/shop/replica"), Some(StatusCode::OK));
    assert_eq!(status(&two, "/shop/primary"), Some(StatusCode::SERVICE_UNAVAILABLE));
    let ambiguous = ask(&two, None, "/replica").unwrap();
    assert_eq!(
        (ambiguous.status, ambiguous.body.as_str()),
        (StatusCode::NOT_FOUND, "there are /app/replica, /shop/replica\n")
    );
    assert_eq!(status(&two[..1], "/shop/replica"), Some(StatusCode::NOT_FOUND));
    let none = ask(&[], None, "/primary").unwrap();
    assert_eq!((none.status, none.body.as_str()), (StatusCode::NOT_FOUND, "this agent has no database\n"));
    for path in ["/", "/healthz", "/metrics", "/app", "/app/", "/app/metrics", "/a/b/primary", "primary"] {
        assert_eq!(ask(&two, None, path), None, "{path}");
    }
}

#[test]
fn it_only_answers_questions() {
    let goals = [goal(Some("us"), 7)];
    let standing = |_: &ServiceName| None;
    let databases = Databases { goals: &goals, region: &"eu".into(), standing: &standing };
    let status = |method| answer(&databases, &method, "/primary", None).unwrap().status;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert_eq!(status(method), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(status(Method::POST), StatusCode::METHOD_NOT_ALLOWED);
}
