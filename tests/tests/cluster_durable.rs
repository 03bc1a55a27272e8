//! Nothing is acknowledged before a majority has it on disk: `strace` of every controller says what was
//! written and synced when, and the operator's command when it had its answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tests::{Cluster, eventually, text};

const WRITES: usize = 20;

#[test]
fn cluster_each_write_is_on_a_majority_of_disks_before_its_answer() -> anyhow::Result<()> {
    let mut cluster = Cluster::up("balanced")?;
    let folder = tempfile::tempdir()?;
    let regions = cluster.regions();
    for region in &regions {
        let trace = folder.path().join(region);
        let trace = trace.to_str().context("a temporary folder's name is UTF-8")?;
        cluster.signal(region, "controller", Signal::SIGKILL)?;
        // -D: the controller stays this test's child, strace its grandchild.
        let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-ttt", "-T", "-s", "1000000", "-o", trace];
        let calls = ["-e", "trace=pwrite64,fdatasync", "--"];
        cluster.restart_under(region, "controller", &[&strace[..], &calls].concat())?;
        eventually("all controllers are back", || {
            let status = cluster.status()?;
            let members = status["members"].as_array().context("no members")?;
            Ok(members.len() == regions.len() && status["leader"].is_u64())
        })?;
    }
    let mut answered = BTreeMap::new();
    for write in 0..WRITES {
        let why = format!("marked-{write:03}");
        eventually("an acknowledged write", || {
            let output = cluster.failover(&["pause", "--why", &why])?;
            // Of what was not acknowledged nothing is claimed.
            ensure!(output.status.success(), "{}", text(&output));
            Ok(true)
        })?;
        answered.insert(why, SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64());
    }
    drop(cluster);
    let traces: Vec<Vec<Call>> =
        regions.iter().map(|region| calls(&folder.path().join(region))).collect::<Result<_, _>>()?;
    for (mark, answered) in &answered {
        let durable: Vec<f64> = traces.iter().filter_map(|calls| durable_at(calls, mark)).collect();
        let before = durable.iter().filter(|at| *at < answered).count();
        ensure!(before * 2 > regions.len(), "{mark} was answered at {answered}, on disk at {durable:?}");
    }
    Ok(())
}

/// A system call that succeeded.
struct Call {
    begun: f64,
    ended: f64,
    text: String,
}

/// When the first sync ended that began after a write with `mark` in it had ended.
fn durable_at(calls: &[Call], mark: &str) -> Option<f64> {
    let written = calls.iter().filter(|call| call.text.starts_with("pwrite64(") && call.text.contains(mark));
    let written = written.map(|call| call.ended).min_by(f64::total_cmp)?;
    let synced = calls.iter().filter(|call| call.text.starts_with("fdatasync(") && call.begun >= written);
    synced.map(|call| call.ended).min_by(f64::total_cmp)
}

/// Reads lines such as `PID TIME pwrite64(5, "…", 12, 0) = 12 <0.000012>`, also where another thread's
/// call came between: `… <unfinished ...>` and later `PID TIME <... pwrite64 resumed>) = 12 <0.000012>`.
fn calls(trace: &Path) -> anyhow::Result<Vec<Call>> {
    let trace = std::fs::read_to_string(trace).with_context(|| trace.display().to_string())?;
    let (mut unfinished, mut calls) = (BTreeMap::new(), Vec::new());
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((time, text)) = rest.trim_start().split_once(' ') else { continue };
        let time: f64 = time.parse().with_context(|| line.chars().take(80).collect::<String>())?;
        let took = || -> Option<f64> { text.rsplit_once('<')?.1.strip_suffix('>')?.parse().ok() };
        if text.contains(" = -1 ") {
            unfinished.remove(pid);
        } else if let Some(begin) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, (time, begin.to_owned()));
        } else if text.starts_with("<... ") {
            if let Some((begun, text)) = unfinished.remove(pid) {
                calls.push(Call { begun, ended: time, text });
            }
        } else if let Some(took) = took() {
            calls.push(Call { begun: time, ended: time + took, text: text.to_owned() });
        }
    }
    Ok(calls)
}
