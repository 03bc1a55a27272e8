//! Connections of HTTP/1.1 that stand idle, to be used again: one handshake less a probe, for us
//! and for the target.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use wire::target::Origin;

pub(super) type Sender = SendRequest<Empty<Bytes>>;

/// Over all targets. Each costs a socket and some 10 KiB.
const MOST_IDLE: usize = 512;
/// Shorter than what common servers and middleboxes allow, so that few are used just as they close.
const IDLE_FOR: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    by_origin: HashMap<Origin, Vec<(Sender, Instant)>>,
    count: usize,
}

impl Pool {
    pub(super) fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Idle { by_origin, count } = &mut *idle;
        let connections = by_origin.get_mut(origin)?;
        let mut found = None;
        while let Some((sender, since)) = connections.pop() {
            *count -= 1;
            if is_good(&sender, since) {
                found = Some(sender);
                break;
            }
        }
        if connections.is_empty() {
            by_origin.remove(origin);
        }
        found
    }

    /// When full, those that are there stay: targets are probed in turn, so making room for this one
    /// would throw out the one that is wanted next.
    pub(super) fn put(&self, origin: Origin, sender: Sender) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count >= MOST_IDLE {
            idle.drop_old();
        }
        if idle.count < MOST_IDLE && !sender.is_closed() {
            idle.count += 1;
            idle.by_origin.entry(origin).or_default().push((sender, Instant::now()));
        }
    }
}

impl Idle {
    fn drop_old(&mut self) {
        self.by_origin.retain(|_, connections| {
            connections.retain(|(sender, since)| is_good(sender, *since));
            !connections.is_empty()
        });
        self.count = self.by_origin.values().map(Vec::len).sum();
    }
}

fn is_good(sender: &Sender, since: Instant) -> bool {
    !sender.is_closed() && since.elapsed() < IDLE_FOR
}
