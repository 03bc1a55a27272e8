//! The report as JUnit's XML, for what runs tests.

use std::fmt::Write as _;

use decision::drill::report::{CheckResult, Report};
use decision::time::rfc3339;

pub fn junit(report: &Report) -> String {
    let count = |result| report.checks.iter().filter(|check| check.result == result).count();
    let (failures, skipped) =
        (count(CheckResult::Fail), count(CheckResult::Inconclusive) + count(CheckResult::Aborted));
    let seconds = report.ended.at.since(report.begun_at).as_secs_f64();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuite name=\"{} of {}\" id=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{seconds:.3}\" timestamp=\"{}\">",
        escape(&report.wish.scenario),
        escape(report.wish.service.as_str()),
        report.drill,
        report.checks.len(),
        rfc3339(report.begun_at)
    );
    for check in &report.checks {
        let _ = write!(
            xml,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\">",
            escape(&report.wish.scenario),
            escape(&check.name)
        );
        let detail = escape(&check.detail);
        let _ = match check.result {
            CheckResult::Pass => write!(xml, "<system-out>{detail}</system-out>"),
            CheckResult::Fail => write!(xml, "<failure message=\"{detail}\"/>"),
            result => write!(xml, "<skipped message=\"{result}: {detail}\"/>"),
        };
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// Also in attributes. What XML 1.0 has no way to write is left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => escaped.push(c),
        }
    }
    escaped
}
