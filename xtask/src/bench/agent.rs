//! A whole agent, with its controller, that watches 10,000 targets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Bench;
use super::cluster::Cluster;
use super::process::{Running, cpu_s, memory_mib, program, wait_for};
use super::table::{Row, Target, median};

const ENDPOINTS: usize = 100;
/// Of each endpoint: its own, and 99 of the service.
const CHECKS_EACH: usize = 100;
const INTERVAL_S: u64 = 10;
const REGION: &str = "here";

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let folder = bench.folder("agent")?;
    let mut command = program(bench.example("probe_bench"));
    // It ends when its input does.
    command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut targets = Running::start(command)?;
    let port: u16 = targets.first_line()?.parse().context("the targets told no port")?;

    let (few, all) = (folder.join("few.yml"), folder.join("all.yml"));
    std::fs::write(&few, regions(port, 1, 1))?;
    std::fs::write(&all, regions(port, ENDPOINTS, CHECKS_EACH))?;
    // `up` would point all endpoints at its sample service: what is to be watched comes after.
    let cluster = Cluster::start(bench, &folder, &few, "safe")?;
    cluster.failover(&["config", "apply", "--yes", &all.display().to_string()])?;
    let pid = cluster.pid(REGION, "agent")?;

    let interval = Duration::from_secs(INTERVAL_S);
    let wanted = (ENDPOINTS * CHECKS_EACH) as f64 / INTERVAL_S as f64;
    // What is new is asked sooner, until its condition is known.
    wait_for("steady pace of probes", 18 * interval, || {
        let off = probes_per_s(port, interval)? / wanted - 1.0;
        Ok((off.abs() < 0.05).then_some(()))
    })?;
    let (mut shares, mut sizes, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds() {
        let (cpu_before, began) = (cpu_s(pid)?, Instant::now());
        rates.push(probes_per_s(port, interval.max(Duration::from_secs(bench.seconds)))?);
        shares.push(100.0 * (cpu_s(pid)? - cpu_before) / began.elapsed().as_secs_f64());
        sizes.push(memory_mib(pid, "status", "VmRSS")?);
        eprintln!("  round {round}: {:.1} % of a core", shares[round - 1]);
    }
    let peak = memory_mib(pid, "status", "VmHWM")?;
    let controller = memory_mib(cluster.pid(REGION, "controller")?, "status", "VmRSS")?;
    Ok(vec![
        Row::alone("agent, 10,000 targets every 10 s", "% of one core", median(&shares))
            .target(Target::AtMost(25.0))
            .note(format!("the whole process; {:.0} probes/s arrived", median(&rates))),
        Row::alone("agent, 10,000 targets, resident", "MiB", median(&sizes))
            .target(Target::AtMost(80.0))
            .note(format!("peak {peak:.0}; its controller {controller:.0}")),
    ])
}

/// One region that hosts one service; each endpoint is an address of its own.
fn regions(port: u16, endpoints: usize, checks_each: usize) -> String {
    let addresses = (1..=endpoints).map(|n| format!("      - http://127.1.0.{n}:{port}/endpoint-{n}\n"));
    let checks = (1..checks_each).map(|n| format!("      - {{kind: http, path: /{n}}}\n"));
    let (addresses, checks) = (addresses.collect::<String>(), checks.collect::<String>());
    let list = if checks.is_empty() { String::new() } else { format!("    health_checks:\n{checks}") };
    format!(
        "regions:\n  {REGION}:\n    name: {REGION}\n    services: [app]\n    endpoints:\n{addresses}\
         failover_strategy:\n  profile: safe\n\
         health_checks:\n  interval: {INTERVAL_S}s\n  timeout: 5s\n\
         services:\n  app:\n    min_capacity: 1%\n{list}"
    )
}

/// As the targets count them.
fn probes_per_s(port: u16, within: Duration) -> anyhow::Result<f64> {
    let (before, began) = (answered(port)?, Instant::now());
    std::thread::sleep(within);
    Ok((answered(port)? - before) as f64 / began.elapsed().as_secs_f64())
}

fn answered(port: u16) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("the targets")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /answered HTTP/1.1\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.rsplit_once("\r\n").map_or("", |(_, body)| body);
    body.parse().with_context(|| format!("the targets said {text:?}"))
}
