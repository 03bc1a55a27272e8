use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{Method, StatusCode};
use control_plane::http::private;
use decision::command::Command;
use decision::journal::KEPT_ENTRIES;
use futures::StreamExt;
use tower::ServiceExt;

use crate::fixture::{Fixed, state};
use crate::{operator, request, send};

/// Reads events from the stream as they come.
struct Reader {
    stream: BodyDataStream,
    text: String,
}

impl Reader {
    async fn open(router: &Router, path: &str, last_event_id: Option<&str>) -> Reader {
        let mut request = request(Method::GET, path, operator(), Body::empty());
        if let Some(id) = last_event_id {
            request.headers_mut().insert("last-event-id", id.parse().unwrap());
        }
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Reader { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event: its kind and its id, or its data when it has none. Comments are skipped.
    async fn next(&mut self) -> (String, String) {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim_start().to_owned())
                };
                let (kind, id, data) = (field("event:"), field("id:"), field("data:"));
                self.text = rest.to_owned();
                if let (Some(kind), Some(data)) = (kind, data) {
                    return (kind, id.unwrap_or(data));
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.stream.next()).await;
            let chunk = chunk.expect("an event in time").expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn note(backend: &Fixed, text: &str) {
    backend.apply(Command::Note { text: text.into() });
}

fn journal(id: u64) -> (String, String) {
    ("journal".to_owned(), id.to_string())
}

#[tokio::test]
async fn entries_come_as_they_are_written() {
    let backend = Fixed::new(state());
    note(&backend, "before");
    let router = private(backend.clone());
    let mut reader = Reader::open(&router, "/api/v1/events", None).await;
    note(&backend, "one\ntwo");
    assert_eq!(reader.next().await, journal(2));
    note(&backend, "three");
    note(&backend, "four");
    assert_eq!(reader.next().await, journal(3));
    assert_eq!(reader.next().await, journal(4));
}

#[tokio::test]
async fn who_comes_back_misses_nothing() {
    let backend = Fixed::new(state());
    let router = private(backend.clone());
    let mut reader = Reader::open(&router, "/api/v1/events?after=0", None).await;
    note(&backend, "one");
    assert_eq!(reader.next().await, journal(1));
    drop(reader);
    for n in 0..200 {
        note(&backend, &n.to_string());
    }
    let mut reader = Reader::open(&router, "/api/v1/events?after=0", Some("1")).await;
    for id in 2..=201 {
        assert_eq!(reader.next().await, journal(id));
    }
    note(&backend, "last");
    assert_eq!(reader.next().await, journal(202));
}

#[tokio::test]
async fn who_was_away_too_long_is_told_what_is_missing() {
    let backend = Fixed::new(state());
    {
        let mut state = backend.state.lock().unwrap();
        let now = state.now;
        for n in 0..KEPT_ENTRIES + 5 {
            let event = decision::event::Event::Note { text: n.to_string() };
            state.journal.append(now, "operator/ann", event);
        }
    }
    let router = private(backend);
    let mut reader = Reader::open(&router, "/api/v1/events", Some("2")).await;
    assert_eq!(reader.next().await, ("gap".into(), "{\"from\":3,\"to\":5}".into()));
    assert_eq!(reader.next().await, journal(6));
    assert_eq!(reader.next().await, journal(7));
}

#[tokio::test]
async fn a_malformed_place_to_resume_is_an_error() {
    let router = private(Fixed::new(state()));
    let mut request = request(Method::GET, "/api/v1/events", operator(), Body::empty());
    request.headers_mut().insert("last-event-id", "x".parse().unwrap());
    assert_eq!(send(&router, request).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn readers_are_bounded_and_a_place_is_freed_when_one_leaves() {
    let router = private(Fixed::new(state()));
    let mut readers = Vec::new();
    for _ in 0..64 {
        readers.push(Reader::open(&router, "/api/v1/events", None).await);
    }
    let one_more = || request(Method::GET, "/api/v1/events", operator(), Body::empty());
    let got = send(&router, one_more()).await;
    assert_eq!((got.status, got.json()["code"].clone()), (StatusCode::SERVICE_UNAVAILABLE, "busy".into()));
    readers.pop();
    Reader::open(&router, "/api/v1/events", None).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_journal_still_says_that_it_is_there_and_ends_in_time() {
    let router = private(Fixed::new(state()));
    let reader = Reader::open(&router, "/api/v1/events", None).await;
    let said: Vec<_> =
        reader.stream.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect().await;
    assert!(said[0].contains("retry:1000") || said[0].contains("retry: 1000"), "{said:?}");
    assert!(said.len() > 300 && said[1..].iter().all(|chunk| chunk.starts_with(':')), "{}", said.len());
}
