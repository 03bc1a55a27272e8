//! Documents that anybody may ask for, kept as bytes: made anew only when what they show has
//! changed, so that readers in any number cost the controller little.

use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// A document's bytes and their strong entity tag (RFC 9110, 8.8.3).
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) body: Bytes,
    pub(super) etag: HeaderValue,
}

impl Rendered {
    pub(super) fn new(body: Vec<u8>) -> Rendered {
        let hex = HEXLOWER.encode(&Sha256::digest(&body)[..16]);
        let etag =
            HeaderValue::from_str(&format!("\"{hex}\"")).expect("hex digits in quotes are a valid header");
        Rendered { body: Bytes::from(body), etag }
    }

    /// The document, or 304 for a reader who has it already. `headers` go with both.
    pub(super) fn answer(&self, request: &HeaderMap, headers: HeaderMap) -> Response<Body> {
        let has_it = request.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, &self.etag));
        let (status, body) = match has_it {
            true => (StatusCode::NOT_MODIFIED, Body::empty()),
            false => (StatusCode::OK, Body::from(self.body.clone())),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::ETAG, self.etag.clone());
        response
    }
}

/// Weak comparison, as If-None-Match wants it (RFC 9110, 13.1.2).
fn matches(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let Ok(list) = if_none_match.to_str() else { return false };
    let mut listed = list.split(',').map(|tag| tag.trim());
    listed.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// One document, made for a key such as the log index it shows.
pub(super) struct Cell<K> {
    current: RwLock<Option<(K, Arc<Rendered>)>>,
    rendering: Mutex<()>,
}

impl<K> Default for Cell<K> {
    fn default() -> Self {
        Cell { current: RwLock::new(None), rendering: Mutex::new(()) }
    }
}

impl<K: PartialEq + Clone> Cell<K> {
    /// The document for `key`. While another caller makes it, the one before will do; `render` must
    /// show at least what `key` stands for.
    pub(super) fn get(&self, key: K, render: impl FnOnce() -> Vec<u8>) -> Arc<Rendered> {
        let held = self.held();
        if let Some((_, rendered)) = held.as_ref().filter(|(held, _)| *held == key) {
            return rendered.clone();
        }
        let _turn = match self.rendering.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::WouldBlock) => match held {
                Some((_, before)) => return before,
                None => self.rendering.lock().unwrap_or_else(PoisonError::into_inner),
            },
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if let Some((_, rendered)) = self.held().filter(|(held, _)| *held == key) {
            return rendered;
        }
        let rendered = Arc::new(Rendered::new(render()));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some((key, rendered.clone()));
        rendered
    }

    fn held(&self) -> Option<(K, Arc<Rendered>)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_once_for_each_key() {
        let cell = Cell::default();
        let mut made = 0;
        for key in [1, 1, 2, 2, 1] {
            let rendered = cell.get(key, || {
                made += 1;
                format!("{key}").into_bytes()
            });
            assert_eq!(rendered.body, format!("{key}"));
        }
        assert_eq!(made, 3);
    }

    #[test]
    fn while_another_renders_the_document_before_is_given() {
        let cell = Cell::default();
        cell.get(1, || b"one".to_vec());
        let outer = cell.get(2, || {
            let inner = cell.get(2, || unreachable!("one at a time"));
            assert_eq!(inner.body, "one");
            b"two".to_vec()
        });
        assert_eq!(outer.body, "two");
    }

    #[test]
    fn entity_tags_are_compared_as_rfc_9110_says() {
        let etag = HeaderValue::from_static("\"abc\"");
        for (sent, expected) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("*", true),
            ("\"x\", \"abc\"", true),
            ("\"x\"", false),
            ("abc", false),
            ("", false),
        ] {
            assert_eq!(matches(&HeaderValue::from_str(sent).unwrap(), &etag), expected, "{sent}");
        }
    }
}
