//! Own DNS against Knot: the same record, one core each, runs interleaved; prints JSON.
//!
//! `cargo run --release -p region-agent --example dns_bench [ROUNDS [SECONDS]]` (at least 2 rounds) needs `knotd`,
//! `dnsperf` and `taskset`. `… dns_bench serve PORT` only serves, until it is killed.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use decision::dns::{Group, RecordSet, RecordType, Zone};
use failover::testing::free_port;
use region_agent::dns::{DnsServer, Settings};
use wire::host::Host;

const NAME: &str = "app.example.test";
const ADDRESS: &str = "192.0.2.1";
/// The servers have one core, the load generator another.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", port] => serve(port.parse()?),
        [] => compare(5, 4),
        [rounds] => compare(rounds.parse()?, 4),
        [rounds, seconds] => compare(rounds.parse()?, seconds.parse()?),
        _ => Err("usage: dns_bench [ROUNDS [SECONDS]] | dns_bench serve PORT".into()),
    }
}

fn serve(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let dir = std::env::temp_dir().join(format!("regent-dns-bench-{}", std::process::id()));
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let settings = Settings { bind, data_dir: dir.clone() };
        let server = DnsServer::start(settings, Host::system()).await?;
        let refused = server.publish(vec![zone()]).await;
        fs::remove_dir_all(dir)?;
        match refused.into_iter().next() {
            Some(refused) => Err(refused.into()),
            None => std::future::pending().await,
        }
    })
}

fn zone() -> Zone {
    let group = Group { region: "eu".into(), weight: 1, values: vec![ADDRESS.to_owned()] };
    Zone {
        origin: "example.test".into(),
        generation: 1,
        name_servers: Vec::new(),
        records: vec![RecordSet { name: NAME.into(), rtype: RecordType::A, ttl_s: 5, groups: vec![group] }],
        secondaries: Vec::new(),
    }
}

#[derive(Default)]
struct Runs {
    queries_per_second: Vec<f64>,
    answered: f64,
    /// CPU time of the server after each run.
    ticks: Vec<f64>,
}

impl Runs {
    fn add(&mut self, load: Load, server: &Server) -> Result<()> {
        // What came before the first reading was not counted, so neither are its queries.
        if !self.ticks.is_empty() {
            self.answered += load.answered;
        }
        self.queries_per_second.push(load.queries_per_second);
        self.ticks.push(server.cpu_ticks()?);
        Ok(())
    }

    fn queries_per_tick(&self) -> Result<f64> {
        match &self.ticks[..] {
            [first, .., last] => Ok(self.answered / (last - first).max(1.0)),
            _ => Err("two rounds at least are needed".into()),
        }
    }
}

struct Load {
    queries_per_second: f64,
    answered: f64,
}

struct Server(Child);

impl Server {
    /// User and system time so far (proc(5), fields 14 and 15 of `stat`).
    fn cpu_ticks(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let after_name = stat.rsplit_once(')').ok_or("an odd stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        Ok(fields[11].parse::<f64>()? + fields[12].parse::<f64>()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn compare(rounds: usize, seconds: u32) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("regent-dns-compare-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = compare_in(&dir, rounds, seconds);
    fs::remove_dir_all(&dir)?;
    println!("{}", serde_json::to_string_pretty(&result?)?);
    Ok(())
}

fn compare_in(dir: &Path, rounds: usize, seconds: u32) -> Result<serde_json::Value> {
    fs::write(dir.join("queries"), format!("{NAME} A\n"))?;
    let (own_port, knot_port) = (free_port(), free_port());
    let own_exe = std::env::current_exe()?;
    let own_server = pinned(own_exe.to_str().ok_or("path")?, &["serve", &own_port.to_string()])?;
    let knot_server = knot(dir, knot_port)?;
    for port in [own_port, knot_port] {
        wait_ready(port)?;
        load(dir, port, 1)?;
    }
    let (mut own, mut knot) = (Runs::default(), Runs::default());
    for _ in 0..rounds {
        own.add(load(dir, own_port, seconds)?, &own_server)?;
        knot.add(load(dir, knot_port, seconds)?, &knot_server)?;
    }
    let (own_median, knot_median) = (median(&own.queries_per_second), median(&knot.queries_per_second));
    Ok(serde_json::json!({
        "own_queries_per_second": own_median, "knot_queries_per_second": knot_median,
        "own_runs": own.queries_per_second, "knot_runs": knot.queries_per_second,
        "ratio": own_median / knot_median, "target_ratio": 0.7,
        // Says the same on a machine that others use too.
        "queries_per_cpu_second_ratio": own.queries_per_tick()? / knot.queries_per_tick()?,
    }))
}

fn knot(dir: &Path, port: u16) -> Result<Server> {
    let shown = dir.display();
    fs::write(
        dir.join("example.test.zone"),
        format!(
            "$ORIGIN example.test.\n@ 5 SOA ns hostmaster 1 60 10 604800 5\n@ NS ns\nns A 127.0.0.1\napp 5 A {ADDRESS}\n"
        ),
    )?;
    fs::write(
        dir.join("knot.conf"),
        format!(
            "server:\n  rundir: {shown}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n\
             database:\n  storage: {shown}\nlog:\n  - target: stderr\n    any: warning\n\
             zone:\n  - domain: example.test\n    storage: {shown}\n    file: example.test.zone\n"
        ),
    )?;
    pinned("knotd", &["-c", dir.join("knot.conf").to_str().ok_or("path")?])
}

fn pinned(program: &str, args: &[&str]) -> Result<Server> {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE, program]).args(args).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Server(command.spawn().map_err(|e| format!("cannot start {program}: {e}"))?))
}

/// Asks until something answers.
fn wait_ready(port: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let question = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x03app\x07example\x04test\0\0\x01\0\x01";
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let mut reply = [0; 512];
        if socket.send(question).is_ok() && socket.recv(&mut reply).is_ok() && reply[7] == 1 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing answers on port {port}").into())
}

fn load(dir: &Path, port: u16, seconds: u32) -> Result<Load> {
    let output = Command::new("taskset")
        .args(["-c", LOAD_CORE, "dnsperf", "-s", "127.0.0.1", "-p", &port.to_string(), "-d"])
        .arg(dir.join("queries"))
        .args(["-l", &seconds.to_string(), "-c", "8", "-q", "200", "-T", "1"])
        .output()
        .map_err(|e| format!("cannot run dnsperf: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |label: &str| -> Result<f64> {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(label));
        let figure = found.and_then(|rest| rest.split_whitespace().next());
        Ok(figure.ok_or_else(|| format!("dnsperf said: {text}"))?.parse()?)
    };
    Ok(Load { queries_per_second: figure("Queries per second:")?, answered: figure("Queries completed:")? })
}

fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
