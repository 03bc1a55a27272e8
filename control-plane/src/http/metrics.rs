//! What Prometheus reads. Gathered when asked: the state is the truth, and nothing is counted twice.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State as Face;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use decision::state::State;
use decision::verdict::Verdict;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::backend::{Backend, look};
use super::private::Shared;
use super::problem::Problem;
use crate::documents::ApiError;
use crate::view::{self, Membership};

type Labels = Vec<(&'static str, String)>;

const VERDICTS: [Verdict; 5] =
    [Verdict::Healthy, Verdict::Degraded, Verdict::Partitioned, Verdict::Dead, Verdict::Unknown];

/// For Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String,
    content_type = "application/openmetrics-text", description = "Metrics, `regent_…`, in base units")))]
pub(super) async fn serve(Face(face): Face<Shared>) -> Result<Response, Problem> {
    let registry = gather(&*face.backend);
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|error| ApiError::Unknown(format!("metrics cannot be written: {error}")))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

fn gather(backend: &dyn Backend) -> Registry {
    let mut registry = Registry::with_prefix("regent");
    of_member(&mut registry, backend);
    of_group(&mut registry, &backend.membership());
    look(backend, |state| of_state(&mut registry, state));
    backend.register_metrics(&mut registry);
    registry
}

fn of_member(registry: &mut Registry, backend: &dyn Backend) {
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build", "The version that runs; always 1", build);
    let age = Gauge::<f64, AtomicU64>::default();
    age.set(backend.now().since(backend.fresh_at()).as_secs_f64());
    registry.register("data_age_seconds", "Since this member last knew its state to be current", age);
    gauge(registry, "ready", "Whether this member can serve requests", u64::from(backend.is_ready().is_ok()));
}

fn of_group(registry: &mut Registry, membership: &Membership) {
    gauge(registry, "raft_term", "Raft term", membership.term);
    gauge(registry, "raft_leader_known", "Whether a leader is known", u64::from(membership.leader.is_some()));
    gauge(registry, "raft_leader", "Id of the leader; 0 when none is known", membership.leader.unwrap_or(0));
    let count = |voter| membership.members.iter().filter(|member| member.voter == voter).count() as u64;
    gauge(registry, "raft_voters", "Members that vote", count(true));
    gauge(registry, "raft_learners", "Members that do not vote", count(false));
}

fn of_state(registry: &mut Registry, state: &State) {
    gauge(registry, "log_applied_index", "Newest log index applied", state.index);
    gauge(
        registry,
        "config_generation",
        "Generation of the configuration; 0 before the first",
        state.config_generation,
    );
    gauge(registry, "automation_paused", "Whether automation is paused", u64::from(state.paused.is_some()));
    let open = state.plans.values().filter(|record| record.is_open()).count();
    gauge(registry, "plans_open", "Plans that wait or run", open as u64);
    let unresolved = state.incidents.iter().filter(|incident| incident.resolved_at.is_none()).count();
    gauge(registry, "incidents_open", "Incidents that are not resolved", unresolved as u64);
    gauge(registry, "moves_in_window", "Moves that the limits still count", state.moves.len() as u64);
    let entries = Counter::<u64>::default();
    entries.inner().store(state.journal.last_seq(), Ordering::Relaxed);
    registry.register("journal_entries", "Entries ever written to the journal", entries);
    of_regions(registry, state);
    of_services(registry, state);
}

fn of_regions(registry: &mut Registry, state: &State) {
    let verdicts = Family::<Labels, Gauge>::default();
    let drained = Family::<Labels, Gauge>::default();
    let sessions = Family::<Labels, Gauge>::default();
    for region in view::regions(state) {
        let name = region.name.to_string();
        stateset(&verdicts, &[("region", &name)], region.verdict);
        drained.get_or_create(&vec![("region", name.clone())]).set(i64::from(region.drained.is_some()));
        for agent in &region.agents {
            let labels = vec![("region", name.clone()), ("agent", agent.agent.to_string())];
            sessions.get_or_create(&labels).set(i64::from(agent.live));
        }
    }
    registry.register("region_verdict", "1 for the verdict on the region, 0 for the others", verdicts);
    registry.register("region_drained", "Whether the region is drained", drained);
    registry.register("agent_session_live", "Whether the agent has a session", sessions);
}

fn of_services(registry: &mut Registry, state: &State) {
    let verdicts = Family::<Labels, Gauge>::default();
    let epochs = Family::<Labels, Gauge>::default();
    let primaries = Family::<Labels, Gauge>::default();
    for service in view::services(state) {
        let name = service.name.to_string();
        stateset(&verdicts, &[("service", &name)], service.verdict);
        epochs.get_or_create(&vec![("service", name.clone())]).set(signed(service.epoch.0));
        primaries.get_or_create(&vec![("service", name), ("region", service.primary.to_string())]).set(1);
    }
    registry.register("service_verdict", "1 for the verdict on the service in its primary region", verdicts);
    registry.register("service_epoch", "The service's fencing token", epochs);
    registry.register("service_primary", "1 for the service's primary region", primaries);
}

fn stateset(family: &Family<Labels, Gauge>, of: &[(&'static str, &str)], held: Verdict) {
    for verdict in VERDICTS {
        let mut labels: Labels = of.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        labels.push(("verdict", verdict.to_string()));
        family.get_or_create(&labels).set(i64::from(verdict == held));
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(signed(value));
    registry.register(name, help, gauge);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
