//! A service with a database loses its region, its server, its agent's life: how long nobody can write, and what
//! is lost. `chaos live-bench` does it and tells; here it is put beside what others take.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Bench;
use super::process::{Running, program};
use super::table::{Peer, Row, Target, median};

const DEFAULT_RUNS: usize = 5;
/// As measured in the same topology, with the same client; docs/BENCH.md says how.
const PEER: &str = "Patroni";

/// Of the runs of one name, what is a figure.
struct Figure {
    runs: &'static str,
    what: &'static str,
    unit: &'static str,
    of: fn(&Value) -> Option<f64>,
    median: f64,
    worst: f64,
    theirs: Option<f64>,
}

const FIGURES: [Figure; 17] = [
    gap("fast-async-cut-off", "region cut off, fast", 1.0, 2.0, Some(22.6)),
    gap("balanced-async-cut-off", "region cut off, balanced", 5.0, 8.0, Some(27.7)),
    gap("balanced-async-kill-postgres", "kill -9 of PostgreSQL", 0.5, 1.0, None),
    gap("balanced-async-kill-postgres-and-agent", "kill -9 of it and the agent", 5.0, 8.0, Some(30.1)),
    gap("balanced-async-freeze-agent", "agent frozen", 5.0, 8.0, None),
    Figure {
        theirs: Some(13_000.0),
        ..nothing("balanced-async-freeze-agent", "agent frozen: two writers", "ms", overlap_ms)
    },
    nothing("balanced-async-freeze-agent", "agent frozen: acknowledged too late", "rows", late),
    gap("balanced-async-switchover", "planned switchover", 0.3, 1.0, Some(3.0)),
    nothing("balanced-async-switchover", "planned switchover: lost", "rows", lost),
    nothing("balanced-async-switchover", "planned switchover: errors but for retries", "errors", odd_errors),
    Figure {
        theirs: Some(330.0),
        ..inside("fast-async-cut-off", "acknowledged inside, then lost; async, fast")
    },
    Figure {
        theirs: Some(810.0),
        ..inside("balanced-async-cut-off", "acknowledged inside, then lost; async, balanced")
    },
    // The last of them may have been acknowledged at the very end of the lease, when the guard kills.
    too_late("fast-async-cut-off", "the last of those, later than the guard allows; fast"),
    too_late("balanced-async-cut-off", "the last of those, later than the guard allows; balanced"),
    nothing("fast-sync-cut-off", "acknowledged inside, then lost; sync", "rows", lost_inside),
    nothing("fast-sync-cut-off", "acknowledged to the client, then lost; sync", "rows", lost),
    Figure {
        runs: "balanced-async-cut-off",
        what: "old primary a healthy replica after heal",
        unit: "s",
        of: |run| Some(run["back_ms"].as_f64()? / 1e3),
        median: 10.0,
        worst: 10.0,
        theirs: Some(24.0),
    },
];

const fn gap(runs: &'static str, what: &'static str, median: f64, worst: f64, theirs: Option<f64>) -> Figure {
    Figure { runs, what, unit: "s", of: gap_s, median, worst, theirs }
}

const fn nothing(
    runs: &'static str,
    what: &'static str,
    unit: &'static str,
    of: fn(&Value) -> Option<f64>,
) -> Figure {
    Figure { runs, what, unit, of, median: 0.0, worst: 0.0, theirs: None }
}

/// Without a bound of its own: how long they were acknowledged has one.
const fn inside(runs: &'static str, what: &'static str) -> Figure {
    Figure {
        runs,
        what,
        unit: "rows",
        of: lost_inside,
        median: f64::INFINITY,
        worst: f64::INFINITY,
        theirs: None,
    }
}

const fn too_late(runs: &'static str, what: &'static str) -> Figure {
    Figure { runs, what, unit: "ms", of: lost_too_late_ms, median: 0.0, worst: 0.0, theirs: None }
}

/// JSON has no infinity: a client that never wrote again has no gap.
fn gap_s(run: &Value) -> Option<f64> {
    Some(run["judged"]["gap_ms"].as_f64().unwrap_or(f64::INFINITY) / 1e3)
}

fn overlap_ms(run: &Value) -> Option<f64> {
    Some(run["judged"]["overlap_ms"].as_f64().unwrap_or_default().max(0.0))
}

fn late(run: &Value) -> Option<f64> {
    run["judged"]["late_acks"].as_f64()
}

fn lost_by(run: &Value, who: &str) -> f64 {
    run["judged"]["lost"][who]["count"].as_f64().unwrap_or_default()
}

fn lost(run: &Value) -> Option<f64> {
    Some(lost_by(run, "client"))
}

fn lost_inside(run: &Value) -> Option<f64> {
    Some(lost_by(run, "inside"))
}

fn lost_too_late_ms(run: &Value) -> Option<f64> {
    let after_ms = run["judged"]["lost"]["inside"]["last_after_fault_ms"].as_f64().unwrap_or_default();
    Some((after_ms - run["guard_ms"].as_f64()?).max(0.0))
}

/// Whoever is told that the server ends, or is a replica, tries again.
fn odd_errors(run: &Value) -> Option<f64> {
    let of = |class: &str| run["judged"]["errors"][class].as_f64().unwrap_or_default();
    Some(of("timed_out") + of("other"))
}

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let runs = run(bench)?;
    FIGURES.iter().map(|figure| row(figure, &runs)).collect()
}

/// By name; told as they come.
fn run(bench: &Bench) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
    let mut command = program(bench.program("chaos"));
    let repetitions = bench.rounds.unwrap_or(DEFAULT_RUNS).to_string();
    command.args(["live-bench", "-o", "json", "--repetitions", &repetitions]).stdout(Stdio::piped());
    let mut running = Running::start(command)?;
    let output = running.0.stdout.take().context("its output is piped")?;
    let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in BufReader::new(output).lines() {
        let mut told: Value = serde_json::from_str(&line?)?;
        let name = told["name"].as_str().context("a run has a name")?.to_owned();
        let run = told["run"].take();
        eprintln!("  {name}: gap {:.2} s", gap_s(&run).unwrap_or(f64::NAN));
        runs.entry(name).or_default().push(run);
    }
    let status = running.0.wait()?;
    ensure!(status.success(), "chaos live-bench: {status}");
    Ok(runs)
}

fn row(figure: &Figure, runs: &BTreeMap<String, Vec<Value>>) -> anyhow::Result<Row> {
    let runs = runs.get(figure.runs).with_context(|| format!("no run of {}", figure.runs))?;
    let values: Vec<f64> = runs.iter().filter_map(figure.of).collect();
    let ours = median(&values);
    let worst = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut row = Row::alone(figure.what, figure.unit, ours).worst(worst);
    if figure.median.is_finite() {
        row = row.target(Target::AtMostAndWorst(figure.median, figure.worst));
    }
    row.peer = figure.theirs.map(|value| Peer { name: PEER, value, ratio: ours / value });
    Ok(row.note(format!("{} runs", values.len())))
}
