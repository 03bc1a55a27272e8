//! A drill in one line.

use decision::drill::report::Verdict;
use decision::drill::{Drill, Wish};
use decision::time::rfc3339;

/// A line for people.
pub fn line(drill: &Drill) -> [String; 8] {
    let (verdict, gap, lost) = match &drill.report {
        Some(report) => (
            report.verdict.to_string(),
            report.measured.longest_gap_ms.map_or_else(|| "-".to_owned(), |gap| format!("{gap}ms")),
            report.measured.lost.to_string(),
        ),
        None if drill.is_running() => ("running".into(), "-".into(), "-".into()),
        None => (Verdict::Inconclusive.to_string(), "-".into(), "-".into()),
    };
    let Wish { scenario, service, region, .. } = &drill.wish;
    [
        drill.id.to_string(),
        rfc3339(drill.begun_at),
        scenario.clone(),
        service.to_string(),
        region.to_string(),
        verdict,
        gap,
        lost,
    ]
}
