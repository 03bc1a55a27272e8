//! The main job: from the loss of the primary region to the changed answer at every survivor.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Bench;
use super::cluster::Cluster;
use super::process::{printed, program, wait_for};
use super::table::{Row, Target, median};

const DEFAULT_RUNS: usize = 10;
const PROFILES: [(&str, f64); 2] = [("fast", 1.0), ("balanced", 6.0)];
const GIVE_UP: Duration = Duration::from_secs(40);

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (profile, target_s) in PROFILES {
        let mut runs = Vec::new();
        for n in 0..bench.rounds.unwrap_or(DEFAULT_RUNS) {
            let leader_is_lost = n % 2 == 1;
            let folder = bench.folder(&format!("failover-{profile}-{n}"))?;
            let took_s = run(bench, &folder, profile, leader_is_lost)?;
            eprintln!("  {profile}, run {}: {took_s:.2} s, leader lost: {leader_is_lost}", n + 1);
            runs.push((leader_is_lost, took_s));
        }
        rows.push(row(profile, target_s, &runs));
    }
    Ok(rows)
}

fn row(profile: &str, target_s: f64, runs: &[(bool, f64)]) -> Row {
    let of = |with_leader: bool| {
        let some: Vec<f64> = runs.iter().filter(|run| run.0 == with_leader).map(|run| run.1).collect();
        format!("{:.2}", median(&some))
    };
    let all: Vec<f64> = runs.iter().map(|run| run.1).collect();
    let (least, most) = all.iter().fold((f64::MAX, 0.0_f64), |(least, most), &s| (least.min(s), most.max(s)));
    Row::alone(format!("region lost to changed answers, {profile}"), "s", median(&all))
        .target(Target::AtMost(target_s))
        .note(format!(
            "{} runs, {least:.2} to {most:.2}; median with the leader's region lost {}, another's {}",
            runs.len(),
            of(true),
            of(false)
        ))
}

/// Seconds from `kill -9` until the last survivor's DNS has changed its answer.
fn run(bench: &Bench, folder: &Path, profile: &str, leader_is_lost: bool) -> anyhow::Result<f64> {
    let cluster = Cluster::start(bench, folder, Path::new("tests/names.yml"), profile)?;
    let primary = cluster.ready["primary"].as_str().context("no primary")?;
    let record = cluster.ready["record"].as_str().context("no record")?;
    let survivors: Vec<(&str, &str)> = cluster
        .regions()
        .filter(|(region, _)| *region != primary)
        .filter_map(|(region, at)| Some((region.as_str(), at["dns"]["udp"].as_str()?)))
        .collect();
    ensure!(survivors.len() == 2, "two survivors are expected, not {survivors:?}");
    let leader = if leader_is_lost { primary } else { survivors[0].0 };
    lead_from(&cluster, leader)?;
    wait_for("health everywhere", GIVE_UP, || {
        let status = cluster.status()?;
        let regions = status["regions"].as_array().context("no regions")?;
        Ok(regions.iter().all(|region| region["verdict"] == "healthy").then_some(()))
    })?;
    // What the hand-over stirred up has settled.
    std::thread::sleep(Duration::from_secs(1));
    ensure!(leads(&cluster)?.as_deref() == Some(leader), "{leader} does not lead any more");
    let mut before = BTreeMap::new();
    for &(region, server) in &survivors {
        let answer =
            dig(server, record)?.with_context(|| format!("no answer in {region} before the loss"))?;
        before.insert(region, answer);
    }
    let mut kill = String::from("kill -9");
    for part in ["service", "controller", "agent"] {
        kill += &format!(" {}", cluster.pid(primary, part)?);
    }
    let mut shell = program("sh");
    shell.args(["-c", &kill]);
    let began = Instant::now();
    printed(shell)?;
    let mut waiting = survivors;
    wait_for("changed answer at every survivor", GIVE_UP, || {
        let mut still = Vec::new();
        for &(region, server) in &waiting {
            match dig(server, record)? {
                Some(answer) if answer != before[region] => {}
                _ => still.push((region, server)),
            }
        }
        waiting = still;
        Ok(waiting.is_empty().then(|| began.elapsed().as_secs_f64()))
    })
}

fn leads(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let status = cluster.status()?;
    let members = status["members"].as_array().context("no members")?;
    let leader = members.iter().find(|member| member["id"] == status["leader"]);
    Ok(leader.and_then(|member| member["region"].as_str()).map(str::to_owned))
}

fn lead_from(cluster: &Cluster, region: &str) -> anyhow::Result<()> {
    wait_for(&format!("leader in {region}"), GIVE_UP, || {
        if leads(cluster)?.as_deref() == Some(region) {
            return Ok(Some(()));
        }
        // To any other; refused while an election runs, so it is tried again.
        let _ = cluster.failover(&["members", "hand-over"]);
        std::thread::sleep(Duration::from_millis(100));
        Ok(None)
    })
}

/// What an operator sees; none when nothing answered.
fn dig(server: &str, record: &str) -> anyhow::Result<Option<String>> {
    let (host, port) = server.rsplit_once(':').context("no port")?;
    let mut command = program("dig");
    command.args([&format!("@{host}"), "-p", port, record, "+short", "+tries=1", "+time=1"]);
    let output = command.output().context("dig")?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((output.status.success() && !text.is_empty() && !text.starts_with(';')).then_some(text))
}
