//! Commits of three members beside three members of etcd, on the same disk, each log truly synced.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Bench;
use super::process::{printed, program};
use super::table::{Row, Target};

const PAYLOAD_BYTES: u64 = 256;
/// Clients at once, and how many times etcd's throughput is wanted.
const LOADS: [(usize, f64); 3] = [(1, 1.0), (32, 1.7), (64, 2.0)];
/// The example puts load on before it measures.
const WARM_UP_S: u64 = 1;
const TRACED_S: u64 = 2;

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let folder = bench.folder("raft")?;
    on_a_disk(&folder)?;
    let mut rows = Vec::new();
    for (clients, wanted) in LOADS {
        let (mut commits, mut p50) = (Pair::default(), Pair::default());
        for round in 1..=bench.rounds() {
            let ours = load(bench, &folder, "regent", clients)?;
            let theirs = load(bench, &folder, "etcd", clients)?;
            commits.add(&ours, &theirs, "commits_per_s")?;
            p50.add(&ours, &theirs, "p50_ms")?;
            eprintln!("  {clients} clients, round {round}: {} commits/s", commits.last());
        }
        let clients = if clients == 1 { "1 client".into() } else { format!("{clients} clients") };
        rows.push(commits.row(&clients, "commits/s").target(Target::RatioAtLeast(wanted)));
        rows.push(p50.row(&format!("{clients}, p50"), "ms").target(Target::RatioAtMost(1.0)));
    }
    let (ours, theirs) =
        (syncs_per_commit(bench, &folder, "regent")?, syncs_per_commit(bench, &folder, "etcd")?);
    rows.push(
        Row::beside("1 client, fsync and fdatasync (traced)", "per commit", &[ours], "etcd", &[theirs])
            .note("all three members together"),
    );
    Ok(rows)
}

#[derive(Default)]
struct Pair {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pair {
    fn add(&mut self, ours: &Value, theirs: &Value, field: &str) -> anyhow::Result<()> {
        self.ours.push(figure(ours, field)?);
        self.theirs.push(figure(theirs, field)?);
        Ok(())
    }

    fn last(&self) -> String {
        let of = |runs: &[f64]| runs.last().map_or(f64::NAN, |figure| figure.round());
        format!("{} (etcd {})", of(&self.ours), of(&self.theirs))
    }

    fn row(&self, what: &str, unit: &'static str) -> Row {
        Row::beside(what, unit, &self.ours, "etcd", &self.theirs)
    }
}

fn figure(line: &Value, field: &str) -> anyhow::Result<f64> {
    let figure = line[field].as_f64().filter(|figure| *figure > 0.0);
    figure.with_context(|| format!("raft_bench gave no {field}: {line}"))
}

fn arguments(folder: &Path, target: &str, clients: usize, seconds: u64) -> Vec<String> {
    let text =
        format!("--target {target} --clients {clients} --payload {PAYLOAD_BYTES} --seconds {seconds} --dir");
    text.split(' ').map(str::to_owned).chain([folder.display().to_string()]).collect()
}

fn load(bench: &Bench, folder: &Path, target: &str, clients: usize) -> anyhow::Result<Value> {
    let mut command = program(bench.example("raft_bench"));
    command.args(arguments(folder, target, clients, bench.seconds));
    Ok(serde_json::from_str(&printed(command)?)?)
}

/// Of the example and all that it starts. What is synced before the load is counted too, which is little.
fn syncs_per_commit(bench: &Bench, folder: &Path, target: &str) -> anyhow::Result<f64> {
    let trace = folder.join(format!("strace.{target}"));
    let mut command = program("strace");
    command.args(["-f", "-c", "-e", "trace=fdatasync,fsync", "-o"]).arg(&trace);
    command.arg(bench.example("raft_bench")).args(arguments(folder, target, 1, TRACED_S));
    let line: Value = serde_json::from_str(&printed(command)?)?;
    let commits = figure(&line, "commits_per_s")? * (TRACED_S + WARM_UP_S) as f64;
    let text = std::fs::read_to_string(&trace).with_context(|| trace.display().to_string())?;
    let calls = syncs(&text);
    eprintln!("  {target} traced: {calls} syncs for about {commits:.0} commits");
    ensure!(calls > 0, "{target} synced nothing to disk: its commits are worth nothing\n{text}");
    Ok(calls as f64 / commits)
}

/// The fourth column of `strace -c`.
fn syncs(summary: &str) -> u64 {
    let calls = summary.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = fields.last().filter(|name| ["fsync", "fdatasync"].contains(name));
        name.and_then(|_| fields.get(3)?.parse::<u64>().ok())
    });
    calls.sum()
}

/// In memory a sync costs nothing, and nothing would be compared.
fn on_a_disk(folder: &Path) -> anyhow::Result<()> {
    let mut command = program("stat");
    command.args(["-f", "-c", "%T"]).arg(folder);
    let kind = printed(command)?;
    if ["tmpfs", "ramfs"].contains(&kind.trim()) {
        bail!(
            "{} is in memory ({}); set CARGO_TARGET_DIR to a folder on a disk",
            folder.display(),
            kind.trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::syncs;

    #[test]
    fn syncs_are_counted_of_both_calls() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
             99.98   11.893022         851     13964           fdatasync\n  \
              0.02    0.002482         413         6         1 fsync\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00   11.895504         851     13970         1 total\n";
        assert_eq!(syncs(summary), 13_970);
        assert_eq!(syncs(""), 0);
    }
}
