//! The report as one page that needs nothing else: no script, no network.

use std::fmt::Write as _;

use decision::drill::report::{CheckResult, Moment, Report, Verdict};
use decision::time::{Time, rfc3339};

use super::junit::escape;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; --good: #2e7d32; --odd: #b26a00 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line) }
.verdict { font-size: 1.2rem; font-weight: 600 } .good { color: var(--good) } .bad { color: var(--bad) } .odd { color: var(--odd) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: currentColor }
";

pub fn page(report: &Report) -> String {
    let mut html = String::new();
    let title = report.title();
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style><main><h1>{0}</h1>",
        escape(&title)
    );
    let _ = write!(html, "<p class=\"verdict {}\">{}</p>", class_of(report.verdict), report.verdict);
    summary(&mut html, report);
    html.push_str("<h2>Timeline</h2>");
    picture(&mut html, report);
    timeline(&mut html, report);
    checks(&mut html, report);
    identity(&mut html, report);
    html.push_str("</main></html>\n");
    html
}

fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "good",
        Verdict::InvariantViolated | Verdict::ObjectiveMissed => "bad",
        Verdict::Inconclusive | Verdict::Aborted => "odd",
    }
}

fn row(html: &mut String, head: &str, cell: &str) {
    let _ = write!(html, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(head), escape(cell));
}

fn summary(html: &mut String, report: &Report) {
    let measured = &report.measured;
    let gap = measured.longest_gap_ms.map_or_else(|| "not measured".to_owned(), |gap| format!("{gap} ms"));
    html.push_str("<table>");
    row(
        html,
        "Longest time without a success",
        &format!("{gap}; the objective is {} ms", report.objective.rto.as_millis()),
    );
    row(
        html,
        "Rows",
        &format!(
            "{} acknowledged, {} lost (over {} ms), {} of which nobody knows",
            measured.acknowledged, measured.lost, measured.lost_span_ms, measured.unknown
        ),
    );
    if let Some(requests) = &measured.requests {
        let gap = requests
            .longest_gap_ms
            .map_or_else(|| "no gap measured".to_owned(), |gap| format!("{gap} ms without"));
        row(html, "Requests", &format!("{} served, {} failed; {gap}", requests.served, requests.failed));
    }
    if let Some(before) = &report.before {
        let gap = before.longest_gap_ms.map_or_else(|| "not measured".to_owned(), |gap| format!("{gap} ms"));
        row(
            html,
            "The time before",
            &format!("{}: {}, {gap}, {} lost", before.drill, before.verdict, before.lost),
        );
    }
    html.push_str("</table>");
}

/// One line of time, a mark for each phase.
fn picture(html: &mut String, report: &Report) {
    let (Some(first), Some(last)) = (report.timeline.first(), report.timeline.last()) else { return };
    let span_ms = last.at.since(first.at).as_millis().max(1) as f64;
    let place = |at: Time| 20.0 + at.since(first.at).as_millis() as f64 / span_ms * 860.0;
    let height = 30 + report.timeline.len() * 16;
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 1000 {height}\" role=\"img\" aria-label=\"timeline\"><line x1=\"20\" y1=\"12\" x2=\"880\" y2=\"12\" stroke=\"currentColor\"/>"
    );
    for (n, moment) in report.timeline.iter().enumerate() {
        let (x, y) = (place(moment.at), 34 + n * 16);
        // What stands far to the right is told to the left of its line.
        let (anchor, beside) = if x > 700.0 { ("end", -3.0) } else { ("start", 3.0) };
        let _ = write!(
            html,
            "<circle cx=\"{x:.1}\" cy=\"12\" r=\"4\" fill=\"currentColor\"/><line x1=\"{x:.1}\" y1=\"12\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"currentColor\" stroke-opacity=\".3\"/><text x=\"{:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{} +{} ms</text>",
            y - 4,
            x + beside,
            escape(&moment.phase.to_string()),
            moment.at.since(first.at).as_millis()
        );
    }
    html.push_str("</svg>");
}

fn timeline(html: &mut String, report: &Report) {
    let begun = report.timeline.first().map_or(report.begun_at, |moment| moment.at);
    html.push_str("<table><tr><th class=\"number\">after, ms</th><th>phase</th><th>what</th></tr>");
    for Moment { at, phase, text } in &report.timeline {
        let _ = write!(
            html,
            "<tr><td class=\"number\">{}</td><td>{phase}</td><td>{}</td></tr>",
            at.since(begun).as_millis(),
            escape(text)
        );
    }
    html.push_str("</table>");
}

fn checks(html: &mut String, report: &Report) {
    html.push_str("<h2>Invariants and objectives</h2><table>");
    for check in &report.checks {
        let class = match check.result {
            CheckResult::Pass => "good",
            CheckResult::Fail => "bad",
            CheckResult::Inconclusive | CheckResult::Aborted => "odd",
        };
        let _ = write!(
            html,
            "<tr><td class=\"{class}\">{}</td><td>{}</td><td>{}</td></tr>",
            check.result,
            escape(&check.name),
            escape(&check.detail)
        );
    }
    html.push_str("</table>");
}

fn identity(html: &mut String, report: &Report) {
    html.push_str("<h2>Identity</h2><table>");
    row(html, "Fault", &format!("{} of {}", report.wish.fault, report.wish.region));
    row(html, "Begun", &rfc3339(report.begun_at));
    row(html, "Ended", &format!("{}: {}", rfc3339(report.ended.at), report.ended.why));
    row(html, "By", &report.by);
    row(html, "Guards", &report.guards.join("; "));
    row(html, "Seed", &report.seed);
    row(html, "Version", &report.version);
    row(html, "Configuration", &format!("generation {}", report.config_generation));
    html.push_str("</table>");
}
