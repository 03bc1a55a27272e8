//! For the machine it runs on: `/healthz` and `/metrics`; and for load balancers, whether the region's
//! instance of a database may be sent clients.

mod database;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use decision::name::RegionName;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use wire::host::BoxListener;
use wire::serve::{ServeLimits, serve_plain};

use database::Databases;

use crate::book::Book;
use crate::contact::Contact;
use crate::dns::DnsServer;
use crate::goals::Goals;
use crate::instances::Instances;
use crate::metrics::Metrics;

/// What is shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) book: Arc<Book>,
    pub(crate) goals: Arc<Goals>,
    pub(crate) contact: Arc<Contact>,
    pub(crate) dns: Option<Arc<DnsServer>>,
    /// The agent's own.
    pub(crate) region: RegionName,
    pub(crate) instances: Arc<Instances>,
}

/// A page, before it is a response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Answer {
        Answer { status, kind: "text/plain", body: body.into() }
    }

    fn json(status: StatusCode, body: serde_json::Value) -> Answer {
        Answer { status, kind: "application/json", body: body.to_string() }
    }
}

pub(crate) async fn run(listener: BoxListener, shown: Shown, stop: CancellationToken) {
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let answer = respond(answer(&shown, request.method(), request.uri()));
        async move { Ok::<_, Infallible>(answer) }
    });
    serve_plain(listener, service, ServeLimits { max_connections: 64, ..ServeLimits::public() }, stop).await;
}

fn answer(shown: &Shown, method: &Method, uri: &Uri) -> Answer {
    let held = shown.goals.held();
    let databases = Databases {
        goals: &held.goal.databases,
        region: &shown.region,
        standing: &|service| shown.instances.standing(service),
    };
    if let Some(answer) = database::answer(&databases, method, uri.path(), uri.query()) {
        return answer;
    }
    match uri.path() {
        _ if method != Method::GET && method != Method::HEAD => {
            Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n")
        }
        "/healthz" => Answer::json(StatusCode::OK, health(shown)),
        "/metrics" => {
            Answer { status: StatusCode::OK, kind: "text/plain; version=0.0.4", body: metrics(shown) }
        }
        _ => Answer::text(
            StatusCode::NOT_FOUND,
            "there are /healthz and /metrics, and of databases /primary, /replica, /read-only and /health\n",
        ),
    }
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(answer.kind));
    response
}

/// It is well while it answers at all: without a controller it goes on watching and serving.
fn health(shown: &Shown) -> serde_json::Value {
    let held = shown.goals.held();
    serde_json::json!({
        "status": "ok",
        "session": shown.metrics.session_open.get() == 1,
        "silence_ms": shown.contact.silence().as_millis() as u64,
        "generation": held.goal.generation,
        "checks": held.goal.checks.len(),
    })
}

fn metrics(shown: &Shown) -> String {
    let Shown { metrics, book, goals, dns, .. } = shown;
    let mut page = String::new();
    let mut family = |name: &str, kind: &str, samples: &[(&str, u64)]| {
        let _ = writeln!(page, "# TYPE regent_agent_{name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(page, "regent_agent_{name}{labels} {value}");
        }
    };
    let results = [
        ("{result=\"passed\"}", metrics.probes_passed.get()),
        ("{result=\"failed\"}", metrics.probes_failed.get()),
        ("{result=\"late\"}", metrics.probes_late.get()),
    ];
    family("probes_total", "counter", &results);
    let [healthy, unhealthy, unknown] = book.count().map(|count| count as u64);
    let conditions = [
        ("{condition=\"healthy\"}", healthy),
        ("{condition=\"unhealthy\"}", unhealthy),
        ("{condition=\"unknown\"}", unknown),
    ];
    family("checks", "gauge", &conditions);
    let steps = [
        ("{result=\"done\"}", metrics.steps_done.get()),
        ("{result=\"failed\"}", metrics.steps_failed.get()),
        ("{result=\"refused\"}", metrics.steps_refused.get()),
    ];
    family("steps_total", "counter", &steps);
    family("patience_multiplier", "gauge", &[("", metrics.multiplier.get().max(1))]);
    family("scheduler_lag_milliseconds", "gauge", &[("", metrics.lag_ms.get())]);
    family("session_open", "gauge", &[("", metrics.session_open.get())]);
    family("sessions_total", "counter", &[("", metrics.sessions_opened.get())]);
    family("goal_generation", "gauge", &[("", goals.held().goal.generation)]);
    family("goals_refused_total", "counter", &[("", metrics.goals_refused.get())]);
    family("goal_store_failures_total", "counter", &[("", metrics.goal_store_failures.get())]);
    family("relay_connections_open", "gauge", &[("", metrics.relay_open.get())]);
    family("relay_connections_waiting", "gauge", &[("", metrics.relay_waiting.get())]);
    family("relay_connections_total", "counter", &[("", metrics.relay_accepted.get())]);
    family("relay_connections_cut_total", "counter", &[("", metrics.relay_cut.get())]);
    family("relay_connections_refused_total", "counter", &[("", metrics.relay_refused.get())]);
    for (name, value) in dns.iter().flat_map(|dns| dns.metrics().all()) {
        match name {
            "connections_open" => family("dns_connections_open", "gauge", &[("", value)]),
            counter => family(&format!("dns_{counter}_total"), "counter", &[("", value)]),
        }
    }
    page
}
