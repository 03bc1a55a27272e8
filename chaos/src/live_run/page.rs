//! One page with everything in it: verdicts, a drawing of who could write when, and the faults.

use std::fmt::Write as _;

use chaos::live::scenario::Effect;
use chaos::live::{Gap, REGIONS};

use super::{Outcome, Report};

/// Of the drawing, in pixels.
const WIDTH: f64 = 1_200.0;
const LABELS: f64 = 150.0;
const LANE: f64 = 26.0;
const TICKS: u32 = 10;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.4rem .6rem;text-align:left;\
vertical-align:top}.PASS{color:#176b2c}.FAIL{color:#b00020;font-weight:bold}.INCONCLUSIVE{color:#8a5a00}svg{width:100%;height:auto}\
text{font:12px system-ui,sans-serif;fill:#333}.fault{fill:#d9822b}.gap{fill:#b00020}.w0{fill:#2b6cb0}.w1{fill:#2f855a}.w2{fill:#6b46c1}\
.lane{stroke:#eee}";

pub fn page(report: &Report) -> String {
    let storm = report.storm;
    let mut html = String::new();
    let failed = report.verdicts.iter().filter(|verdict| verdict.result != Outcome::Pass).count();
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>chaos live, seed {}</title><style>{STYLE}</style>\
         <h1>{}</h1><p>Profile {}, mode {}, schedule {:?}, seed {}; {:.0} s, {} faults.</p>",
        storm.seed,
        if failed == 0 { "All demands were met" } else { "Not all demands were met" },
        escape(&report.profile),
        escape(&report.mode),
        report.schedule,
        storm.seed,
        storm.lasted_ms / 1e3,
        storm.wounds.len(),
    );
    html.push_str("<h2>Verdicts</h2><table><tr><th>Invariant<th>Demand<th>Result<th>Found");
    for verdict in report.verdicts {
        let result = serde_json::to_value(verdict.result).unwrap_or_default();
        let result = result.as_str().unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td class=\"{result}\">{result}<td>{}",
            escape(verdict.invariant),
            escape(verdict.demand),
            escape(&verdict.found),
        );
    }
    html.push_str("</table><h2>What happened when</h2>");
    draw(&mut html, report);
    readers(&mut html, report);
    html.push_str("<h2>Faults</h2><details><summary>All of them</summary><table><tr><th>From<th>To<th>Region<th>Fault<th>Primary<th>What it did<th>Written again after");
    for fault in &storm.wounds {
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{:?}<td>{}<td>{}<td>{}",
            seconds(fault.from_ms),
            seconds(fault.until_ms),
            escape(fault.region),
            fault.wound,
            escape(fault.primary),
            escape(&effect(&fault.effect)),
            fault.written_after_ms.map_or("never".to_owned(), seconds),
        );
    }
    html.push_str("</table></details></html>\n");
    html
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Had(what) => what.clone(),
        Effect::Nothing(what) => format!("nothing: {what}"),
        Effect::NotPossible(what) => format!("not possible here: {what}"),
    }
}

fn readers(html: &mut String, report: &Report) {
    html.push_str(
        "<h2>Readers</h2><table><tr><th>How<th>Relay of<th>Answers<th>By replicas<th>Lacked a row\
         <th>Stalest<th>Of a hundred, one staler than<th>Longest without an answer",
    );
    for seen in &report.storm.readers {
        let _ = write!(
            html,
            "<tr><td>{:?}<td>{}<td>{} of {}<td>{}<td>{}<td>{:.0} ms<td>{:.0} ms<td>{:.0} ms",
            seen.way,
            escape(seen.to),
            seen.answered,
            seen.asked,
            seen.by_replica,
            seen.lacking,
            seen.stale_ms,
            seen.stale_p99_ms,
            seen.gap_ms,
        );
    }
    html.push_str("</table>");
}

/// Lanes above each other: faults of each region, who took writes, when each client could not write.
fn draw(html: &mut String, report: &Report) {
    let storm = report.storm;
    let end_ms = storm.lasted_ms.max(1.0);
    let x = |at_ms: f64| LABELS + (at_ms.clamp(0.0, end_ms) / end_ms) * (WIDTH - LABELS);
    let lanes = REGIONS.len() + 1 + storm.gaps.len();
    let height = LANE * (lanes as f64 + 1.0);
    let _ = write!(html, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Timeline\">");
    let mut lane = 0.0;
    let mut bars = |html: &mut String, title: &str, bars: &[(String, String, Gap)]| {
        let y = LANE * lane;
        let _ = write!(
            html,
            "<text x=\"0\" y=\"{:.1}\">{}</text><line class=\"lane\" x1=\"{LABELS}\" x2=\"{WIDTH}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
            y + LANE * 0.65,
            escape(title),
            y + LANE,
            y + LANE,
        );
        for (class, what, gap) in bars {
            let (from, until) = (x(gap.from_ms), x(gap.until_ms));
            let _ = write!(
                html,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}: {} to {}</title></rect>",
                y + 4.0,
                (until - from).max(1.0),
                LANE - 8.0,
                escape(what),
                seconds(gap.from_ms),
                seconds(gap.until_ms),
            );
        }
        lane += 1.0;
    };
    for region in REGIONS {
        let of_region = storm.wounds.iter().filter(|fault| fault.region == region);
        let faults: Vec<_> = of_region
            .map(|fault| {
                let gap = Gap { from_ms: fault.from_ms, until_ms: fault.until_ms };
                ("fault".to_owned(), format!("{:?}", fault.wound), gap)
            })
            .collect();
        bars(html, &format!("{region}, faults"), &faults);
    }
    let writers: Vec<_> = storm
        .eras
        .iter()
        .map(|(server, gap)| {
            let n = REGIONS.iter().position(|region| server.contains(region)).unwrap_or_default();
            (format!("w{n}"), format!("{server} takes writes"), *gap)
        })
        .collect();
    bars(html, "who takes writes", &writers);
    for (who, gaps) in &storm.gaps {
        let gaps: Vec<_> =
            gaps.iter().map(|gap| ("gap".to_owned(), "no acknowledgement".to_owned(), *gap)).collect();
        bars(html, &format!("{who:?} cannot write"), &gaps);
    }
    for tick in 0..=TICKS {
        let at_ms = end_ms * f64::from(tick) / f64::from(TICKS);
        let _ = write!(
            html,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
            x(at_ms),
            height - LANE * 0.3,
            if tick == TICKS { "end" } else { "start" },
            seconds(at_ms),
        );
    }
    html.push_str("</svg>");
}

fn seconds(at_ms: f64) -> String {
    format!("{:.1} s", at_ms / 1e3)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
