//! The status page at `/`: one document that needs nothing else, readable without scripts; with
//! them it follows what changes and says how old its data is.

mod escape;
mod policy;

use std::fmt::Write;
use std::time::Duration;

use decision::incident::{Impact, Incident, IncidentStatus};
use decision::state::State;
use decision::time::{Human, Time, rfc3339};
use decision::verdict::Verdict;

use super::statuspage::{
    ComponentStatus, Indicator, Line, Overview, drill_name, drill_outcome, id, incident_name, readable,
};
use escape::escape;
pub(super) use policy::content_security_policy;

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");
/// Data older than this calls for a warning; the script in the page says the same.
const STALE_AFTER: Duration = Duration::from_secs(15);
const RECENT: usize = 10;

/// How old the data is, in whole seconds, and when it was last known to be current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    pub(super) at: Time,
    pub(super) age: Duration,
}

impl Freshness {
    pub(super) fn new(fresh_at: Time, now: Time) -> Freshness {
        let whole_s = |ms: u64| ms / 1_000 * 1_000;
        let age = Duration::from_secs(now.since(fresh_at).as_secs());
        Freshness { at: Time(whole_s(fresh_at.0)), age }
    }
}

/// `summary_etag` is that of `summary.json` for the same state: the script asks by it for changes.
pub(super) fn render(state: &State, freshness: Freshness, summary_etag: &str) -> Vec<u8> {
    let overview = Overview::of(state);
    let status = overview.status();
    let mut live = String::new();
    banner(&mut live, status.indicator, &status.description);
    lines(&mut live, "Services", &overview.services);
    lines(&mut live, "Regions", &overview.regions);
    incidents(&mut live, state);
    drills(&mut live, state);
    let stale = freshness.age > STALE_AFTER;
    let age = Human(freshness.age);
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} — {name}</title>
<link rel="icon" href="data:,">
<noscript><meta http-equiv="refresh" content="30"></noscript>
<style>{CSS}</style>
</head>
<body data-etag="{etag}" data-age="{age_s}">
<div class="wrap">
<header>
<h1>{name}</h1>
<p id="age">Data was current at <time datetime="{fresh}">{fresh_readable}</time></p>
</header>
<p id="warning" role="alert"{hidden}>This may be out of date: this server has lost touch with the others. Its data is {age} old.</p>
<main id="live">
{live}</main>
<footer>Also as <a href="/api/v2/summary.json">JSON</a>, in the shape of the Statuspage API.</footer>
</div>
<script>{JS}</script>
</body>
</html>
"##,
        title = escape(&status.description),
        name = escape(&overview.name),
        etag = escape(summary_etag),
        age_s = freshness.age.as_secs(),
        fresh = rfc3339(freshness.at),
        fresh_readable = readable(freshness.at),
        hidden = if stale { "" } else { " hidden" },
    )
    .into_bytes()
}

fn banner(html: &mut String, indicator: Indicator, description: &str) {
    let (class, mark) = match indicator {
        Indicator::None => ("ok", CHECK),
        Indicator::Maintenance => ("info", WRENCH),
        Indicator::Minor => ("warn", TRIANGLE),
        Indicator::Major | Indicator::Critical => ("bad", CROSS),
    };
    push(
        html,
        format_args!(
            "<p class=\"banner {class}\" role=\"status\">{mark}<span>{}</span></p>\n",
            escape(description)
        ),
    );
}

fn lines(html: &mut String, title: &str, lines: &[Line]) {
    if lines.is_empty() {
        return;
    }
    push(html, format_args!("<section aria-label=\"{title}\">\n<h2>{title}</h2>\n<ul class=\"list\">\n"));
    for line in lines {
        let (class, mark, words) = words(line);
        push(
            html,
            format_args!(
                "<li><div class=\"row\"><span class=\"name\">{}</span><span class=\"state {class}\">{mark}{words}</span></div>\
                 <p class=\"note\">{} · since {}</p></li>\n",
                escape(&line.name),
                escape(&line.description),
                time(line.updated_at),
            ),
        );
    }
    html.push_str("</ul>\n</section>\n");
}

/// Colour, shape and words say the same.
fn words(line: &Line) -> (&'static str, &'static str, &'static str) {
    match (line.status, line.verdict) {
        (ComponentStatus::UnderMaintenance, _) => ("info", WRENCH, "Under maintenance"),
        (ComponentStatus::Operational, Verdict::Unknown) => ("warn", QUESTION, "Not known"),
        (ComponentStatus::Operational, _) => ("ok", CHECK, "Operational"),
        (ComponentStatus::DegradedPerformance, _) => ("warn", TRIANGLE, "Degraded"),
        (ComponentStatus::PartialOutage, _) => ("warn", TRIANGLE, "Partial outage"),
        (ComponentStatus::MajorOutage, _) => ("bad", CROSS, "Major outage"),
    }
}

/// The latest; nothing where none was run.
fn drills(html: &mut String, state: &State) {
    if state.drills.is_empty() {
        return;
    }
    html.push_str("<section aria-label=\"Drills\">\n<h2>Drills</h2>\n<ul class=\"list\">\n");
    for drill in state.drills.values().rev().take(RECENT) {
        push(
            html,
            format_args!(
                "<li id=\"drill-{}\"><div class=\"row\"><span class=\"name\">{}</span></div><p class=\"note\">{} · {}</p></li>\n",
                id("drill", &drill.id.to_string()),
                escape(&drill_name(drill)),
                escape(&drill_outcome(drill)),
                time(drill.begun_at),
            ),
        );
    }
    html.push_str("</ul>\n</section>\n");
}

fn incidents(html: &mut String, state: &State) {
    let (open, resolved): (Vec<&Incident>, Vec<&Incident>) = state
        .incidents
        .iter()
        .map(|incident| &**incident)
        .partition(|incident| incident.resolved_at.is_none());
    html.push_str("<section aria-label=\"Open incidents\">\n<h2>Open incidents</h2>\n<ul class=\"list\">\n");
    for incident in &open {
        let class = if incident.impact == Impact::Minor { "warn" } else { "bad" };
        push(
            html,
            format_args!(
                "<li id=\"{}\"><h3 class=\"{class}\">{}</h3>",
                anchor(incident),
                escape(&incident_name(incident))
            ),
        );
        updates(html, incident);
        html.push_str("</li>\n");
    }
    if open.is_empty() {
        html.push_str("<li>None.</li>\n");
    }
    html.push_str("</ul>\n</section>\n");
    if resolved.is_empty() {
        return;
    }
    html.push_str(
        "<section aria-label=\"Recent incidents\">\n<h2>Recent incidents</h2>\n<ul class=\"list\">\n",
    );
    for incident in resolved.iter().take(RECENT) {
        let end = incident.resolved_at.unwrap_or(incident.updated_at);
        let lasted =
            Human(Duration::from_secs(end.since(incident.opened_at).as_millis().div_ceil(1_000) as u64));
        push(
            html,
            format_args!(
                "<li><details id=\"{}\"><summary><h3>{}</h3> <span class=\"note\">resolved after {lasted}</span> {}</summary>",
                anchor(incident),
                escape(&incident_name(incident)),
                time(incident.opened_at),
            ),
        );
        updates(html, incident);
        html.push_str("</details></li>\n");
    }
    html.push_str("</ul>\n</section>\n");
}

fn updates(html: &mut String, incident: &Incident) {
    html.push_str("<ol class=\"updates\">");
    for update in incident.updates.iter().rev() {
        let status = match update.status {
            IncidentStatus::Investigating => "Investigating",
            IncidentStatus::Identified => "Identified",
            IncidentStatus::Monitoring => "Monitoring",
            IncidentStatus::Resolved => "Resolved",
        };
        push(
            html,
            format_args!("<li><strong>{status}</strong> {} {}</li>", escape(&update.body), time(update.at)),
        );
    }
    html.push_str("</ol>");
}

/// As the API's `shortlink` has it.
fn anchor(incident: &Incident) -> String {
    format!("incident-{}", id("incident", &incident.id.to_string()))
}

fn time(at: Time) -> String {
    if at == Time(0) {
        return "the start".to_owned();
    }
    format!("<time datetime=\"{}\">{}</time>", rfc3339(at), readable(at))
}

fn push(html: &mut String, text: std::fmt::Arguments) {
    html.write_fmt(text).expect("a string takes everything");
}

const CHECK: &str = r#"<svg class="mark" viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="8.5"/><path d="M6 10.3l2.8 2.8L14 7.6"/></svg>"#;
const TRIANGLE: &str = r#"<svg class="mark" viewBox="0 0 20 20" aria-hidden="true"><path d="M10 2.2L18.6 17.5H1.4z"/><path d="M10 8v4.2M10 14v1.4"/></svg>"#;
const CROSS: &str = r#"<svg class="mark" viewBox="0 0 20 20" aria-hidden="true"><rect x="1.5" y="1.5" width="17" height="17" rx="2"/><path d="M6.5 6.5l7 7M13.5 6.5l-7 7"/></svg>"#;
const WRENCH: &str = r#"<svg class="mark" viewBox="0 0 20 20" aria-hidden="true"><path d="M10 1.5L18.5 10 10 18.5 1.5 10z"/><path d="M7.5 7.5v5M12.5 7.5v5"/></svg>"#;
const QUESTION: &str = r#"<svg class="mark" viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="8.5" stroke-dasharray="3 2"/><path d="M7.6 7.8a2.4 2.4 0 1 1 3.6 2.1c-.9.5-1.2 1-1.2 1.9M10 13.6v1.4"/></svg>"#;
