//! Own DNS beside Knot. The example does the comparing: it pins each server and the load to a core.

use anyhow::Context;
use serde_json::Value;

use super::Bench;
use super::process::{printed, program};
use super::table::{Row, Target};

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut command = program(bench.example("dns_bench"));
    // It counts processor time between rounds, so needs two.
    command.args([bench.rounds().max(2).to_string(), bench.seconds.to_string()]);
    let report: Value = serde_json::from_str(&printed(command)?)?;
    let (ours, theirs) = (runs(&report, "own_runs")?, runs(&report, "knot_runs")?);
    let cpu =
        report["queries_per_cpu_second_ratio"].as_f64().context("dns_bench gave no ratio by processor")?;
    Ok(vec![
        Row::beside("one record over UDP, one core", "queries/s", &ours, "knot", &theirs)
            .target(Target::RatioAtLeast(0.7))
            .note(format!("by processor time: ratio {cpu:.2}")),
    ])
}

fn runs(report: &Value, field: &str) -> anyhow::Result<Vec<f64>> {
    let runs = report[field].as_array().with_context(|| format!("dns_bench gave no {field}: {report}"))?;
    Ok(runs.iter().filter_map(Value::as_f64).collect())
}
