//! One GET. The status decides, and a part of the body if the check names one; redirects are not
//! followed.

use std::time::Duration;

use ::http::header::{ACCEPT, HOST, USER_AGENT};
use ::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use wire::target::{Inside, Origin, in_words};

use super::Prober;
use super::pool::Sender;

/// What is looked at of a body, and read of one to use its connection again.
const BODY_MAX_BYTES: usize = 64 * 1024;
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// A body that nobody looks at may take this long, then its connection is closed instead.
const DRAIN: Duration = Duration::from_millis(250);
const AGENT: &str = concat!("regent-agent/", env!("CARGO_PKG_VERSION"));

pub(super) async fn probe(
    prober: &Prober,
    url: &str,
    expect_status: &[(u16, u16)],
    expect_body: Option<&str>,
    deadline: Instant,
) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let origin = Origin::of(&uri)?;
    let (response, sender) = get(prober, &uri, &origin).await?;
    let status = response.status().as_u16();
    let expected = match expect_status {
        [] => (200..400).contains(&status),
        ranges => ranges.iter().any(|(from, to)| (*from..=*to).contains(&status)),
    };
    let body = response.into_body();
    if !expected {
        keep(prober, origin, sender, body, deadline).await;
        return Err(format!("status {status}"));
    }
    let Some(wanted) = expect_body else {
        keep(prober, origin, sender, body, deadline).await;
        return Ok(());
    };
    match search(body, wanted.as_bytes()).await? {
        Found::Whole(true) => prober.http.put(origin, sender),
        Found::Early => {}
        Found::Whole(false) => {
            prober.http.put(origin, sender);
            return Err(format!("status {status}, but the body does not contain {wanted:?}"));
        }
        Found::TooLong => {
            return Err(format!("status {status}, but the body's first 64 KiB do not contain {wanted:?}"));
        }
    }
    Ok(())
}

/// Over an idle connection if there is one. A server may close it at that very moment, which says
/// nothing of its health: then over a fresh one.
async fn get(prober: &Prober, uri: &Uri, origin: &Origin) -> Result<(Response<Incoming>, Sender), String> {
    if let Some(mut sender) = prober.http.take(origin)
        && sender.ready().await.is_ok()
        && let Ok(response) = sender.send_request(request(uri)?).await
    {
        return Ok((response, sender));
    }
    let stream = prober.opener.open(origin, Inside::Http1).await?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_MAX_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| in_short(&error))?;
    // Ends by itself once the sender is dropped.
    tokio::spawn(connection);
    let response = sender.send_request(request(uri)?).await.map_err(|error| in_short(&error))?;
    Ok((response, sender))
}

fn request(uri: &Uri) -> Result<Request<Empty<Bytes>>, String> {
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    // Never a password in a header that is not meant for one.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .body(Empty::new())
        .map_err(|error| error.to_string())
}

/// Reads a short body that nobody looks at to its end, so that the connection can be used again.
async fn keep(prober: &Prober, origin: Origin, sender: Sender, mut body: Incoming, deadline: Instant) {
    let drained = async {
        let mut seen = 0;
        while let Some(frame) = body.frame().await {
            seen += frame.ok()?.data_ref().map_or(0, Bytes::len);
            if seen > BODY_MAX_BYTES {
                return None;
            }
        }
        Some(())
    };
    // A margin before the deadline: the status has decided already.
    let until = deadline.min(Instant::now() + DRAIN) - Duration::from_millis(1);
    if let Ok(Some(())) = tokio::time::timeout_at(until, drained).await {
        prober.http.put(origin, sender);
    }
}

enum Found {
    /// After the whole body was read.
    Whole(bool),
    /// Before its end.
    Early,
    TooLong,
}

async fn search(mut body: Incoming, wanted: &[u8]) -> Result<Found, String> {
    let contains = |seen: &[u8]| wanted.is_empty() || seen.windows(wanted.len()).any(|part| part == wanted);
    let mut seen = Vec::new();
    let mut searched = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body broke off: {}", in_short(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_MAX_BYTES - seen.len();
        seen.extend_from_slice(&data[..data.len().min(room)]);
        if contains(&seen[searched..]) {
            return Ok(if body_is_over(&body) { Found::Whole(true) } else { Found::Early });
        }
        if seen.len() == BODY_MAX_BYTES {
            return Ok(Found::TooLong);
        }
        // A match may begin in what was searched already, but not be whole in it.
        searched = seen.len().saturating_sub(wanted.len());
    }
    Ok(Found::Whole(contains(&seen[searched..])))
}

fn body_is_over(body: &Incoming) -> bool {
    hyper::body::Body::is_end_stream(body)
}

fn in_short(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    match cause {
        Some(cause) => in_words(cause),
        None if error.is_incomplete_message() => "connection closed before the answer was whole".to_owned(),
        None if error.is_parse() => format!("not HTTP: {error}"),
        None => error.to_string(),
    }
}
