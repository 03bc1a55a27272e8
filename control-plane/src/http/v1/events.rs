//! The journal as it is written, by server-sent events (WHATWG HTML, 9.2). A reader that comes back
//! with `Last-Event-ID` misses nothing that is still kept, and is told when something is not.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Face;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use decision::journal::Entry;
use futures::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::parameters::Asked;
use crate::http::backend::{Backend, look};
use crate::http::private::Shared;
use crate::http::problem::Problem;

/// Entries taken from the state at a time, so that a slow reader holds little.
const BATCH: usize = 64;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Then the reader must come back, with a certificate that still holds.
const LIFETIME: Duration = Duration::from_secs(3_600);
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct From {
    /// Begin after this entry; without it, and without `Last-Event-ID`, with what comes next.
    after: Option<u64>,
}

/// Journal entries as they come.
#[utoipa::path(get, path = "/api/v1/events", tag = "journal",
    params(From, ("Last-Event-ID" = Option<u64>, Header, description = "Resume after this entry")), responses(
    (status = 200, content_type = "text/event-stream", body = String,
        description = "Events `journal` with an `Entry` each; `gap` when entries asked for are no longer kept"),
    (status = 503, body = Problem, content_type = "application/problem+json", description = "Too many readers")))]
pub(in crate::http) async fn serve(
    Face(face): Face<Shared>,
    Asked(from): Asked<From>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = face.event_streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "too many readers of events already; try again later",
        )
    })?;
    let last_event_id = match headers.get("last-event-id") {
        Some(id) => Some(
            id.to_str()
                .ok()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| Problem::bad_request("Last-Event-ID is not the number of an entry"))?,
        ),
        None => None,
    };
    let changes = face.backend.changes();
    let now = || look(&*face.backend, |state| state.journal.last_seq());
    let told = last_event_id.or(from.after).unwrap_or_else(now);
    let follower = Follower {
        backend: face.backend.clone(),
        changes,
        told,
        waiting: VecDeque::from([Event::default().retry(RETRY_AFTER).comment("the journal")]),
        until: Instant::now() + LIFETIME,
        _place: place,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEPALIVE_INTERVAL)))
}

struct Follower {
    backend: Arc<dyn Backend>,
    changes: watch::Receiver<u64>,
    /// The last entry told.
    told: u64,
    waiting: VecDeque<Event>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            // Marked as seen before the state is read, so that no change is missed.
            self.changes.borrow_and_update();
            self.take();
            if !self.waiting.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.until) => return None,
            }
        }
    }

    fn take(&mut self) {
        let told = self.told;
        let entries: Vec<Arc<Entry>> =
            look(&*self.backend, |state| state.journal.after(told).take(BATCH).cloned().collect());
        for entry in entries {
            if entry.seq > self.told + 1 {
                let gap = format!("{{\"from\":{},\"to\":{}}}", self.told + 1, entry.seq - 1);
                self.waiting.push_back(Event::default().event("gap").data(gap));
            }
            self.told = entry.seq;
            let json = serde_json::to_string(&*entry).expect("an entry has only string keys");
            let event = Event::default().event("journal").id(entry.seq.to_string()).data(json);
            self.waiting.push_back(event);
        }
    }
}
