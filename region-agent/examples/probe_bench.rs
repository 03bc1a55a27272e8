//! What it costs to watch many targets: processor time and memory of the watcher alone, as JSON.
//!
//! `cargo run --release -p region-agent --example probe_bench -- [TARGETS] [INTERVAL_S] [SECONDS]`
//!
//! The targets are URLs of one small HTTP server in a process of its own. With many different
//! servers fewer connections are used again; `hosts` as a fourth argument gives each target an
//! address of its own in 127.0.0.0/8. `… probe_bench serve` only serves, until its input ends; of it
//! `/answered` tells how many it has answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use decision::config::{Check, Probe};
use decision::goal::Goal;
use nix::sys::resource::{Resource, Usage, UsageWho, getrlimit, getrusage, setrlimit};
use region_agent::book::Book;
use region_agent::goals::Held;
use region_agent::metrics::Metrics;
use region_agent::probe::Prober;
use region_agent::watch::{self, Watcher};
use tokio_util::sync::CancellationToken;
use wire::host::Host;
use wire::target::Roots;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve();
    }
    let number = |n: usize, otherwise: u64| match arguments.get(n) {
        Some(text) => text.parse::<u64>().with_context(|| format!("{text:?} is not a number")),
        None => Ok(otherwise),
    };
    let (targets, interval_s, seconds) = (number(0, 10_000)?, number(1, 10)?, number(2, 60)?);
    let many_hosts = arguments.get(3).is_some_and(|word| word == "hosts");

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard)?;
    let (_server, port) = start_server()?;
    let checks = (0..targets).map(|n| check(n, port, interval_s, many_hosts)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report =
        runtime.block_on(measure(checks, Duration::from_secs(interval_s), Duration::from_secs(seconds)));
    println!("{report}");
    Ok(())
}

async fn measure(checks: Vec<Check>, interval: Duration, window: Duration) -> serde_json::Value {
    let host = Host::system();
    let (metrics, book) = (Arc::<Metrics>::default(), Arc::<Book>::default());
    let watcher = Watcher {
        prober: Arc::new(Prober::new(host.clone(), Roots::Native)),
        host,
        book: Arc::clone(&book),
        contact: Arc::default(),
        metrics: Arc::clone(&metrics),
    };
    let contact = Arc::clone(&watcher.contact);
    let count = checks.len();
    let goal = Goal { generation: 1, heartbeat: Duration::from_millis(500), checks, ..Goal::default() };
    let (_goals, held) = tokio::sync::watch::channel(Arc::new(Held { goal, is_live: true }));
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watch::run(watcher, held, stop.clone()));
    let noting = tokio::spawn(async move {
        loop {
            contact.note();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    // Until conditions are known and the load is spread.
    tokio::time::sleep(interval * 2).await;
    let (cpu_before, probes_before, began) = (cpu(), probes(&metrics), Instant::now());
    tokio::time::sleep(window).await;
    let (cpu_after, probes_after, took) = (cpu(), probes(&metrics), began.elapsed());
    stop.cancel();
    noting.abort();
    let _ = watching.await;
    let [healthy, unhealthy, unknown] = book.count();
    let probes = probes_after - probes_before;
    let used = cpu_after - cpu_before;
    serde_json::json!({
        "targets": count,
        "interval_s": interval.as_secs(),
        "measured_s": took.as_secs_f64(),
        "probes_per_s": probes as f64 / took.as_secs_f64(),
        "cpu_percent_of_one_core": 100.0 * used.as_secs_f64() / took.as_secs_f64(),
        "cpu_us_per_probe": used.as_micros() as f64 / probes.max(1) as f64,
        "rss_mib": status_mib("VmRSS:"),
        "rss_peak_mib": status_mib("VmHWM:"),
        "healthy": healthy,
        "unhealthy": unhealthy,
        "unknown": unknown,
        "probes_failed": metrics.probes_failed.get(),
        "probes_late": metrics.probes_late.get(),
    })
}

fn check(n: u64, port: u16, interval_s: u64, many_hosts: bool) -> Check {
    let host = match many_hosts {
        true => format!("127.{}.{}.{}", 1 + n / 62_500, n / 250 % 250, 1 + n % 250),
        false => "127.0.0.1".to_owned(),
    };
    Check {
        id: decision::name::CheckId::new(format!("eu-west-1/service-{n}/http/1")),
        region: ["us-east-1", "eu-west-1", "ap-southeast-1"][n as usize % 3].into(),
        service: None,
        probe: Probe::Http {
            url: format!("http://{host}:{port}/health/{n}"),
            expect_status: vec![(200, 399)],
            expect_body: None,
        },
        interval: Duration::from_secs(interval_s),
        timeout: Duration::from_secs((interval_s / 2).max(1)),
        healthy_threshold: 2,
        unhealthy_threshold: 3,
    }
}

fn probes(metrics: &Metrics) -> u64 {
    metrics.probes_passed.get() + metrics.probes_failed.get()
}

/// Of this process, all threads.
fn cpu() -> Duration {
    let usage: Usage = getrusage(UsageWho::RUSAGE_SELF).expect("asks for oneself only");
    let times = [usage.user_time(), usage.system_time()];
    times.iter().map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000)).sum()
}

fn status_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1_024.0
}

/// A process of its own, so that its cost is not ours; ends with us.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_server() -> anyhow::Result<(Server, u16)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the server of the targets")?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("the server has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((Server(child), line.trim().parse().context("the server told no port")?))
}

fn serve() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard)?;
    // All of 127.0.0.0/8, and nobody else is answered.
    let listener = TcpListener::bind("0.0.0.0:0")?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        // Ends with whoever started it.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    for stream in listener.incoming() {
        let stream = stream?;
        if !stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
            continue;
        }
        std::thread::Builder::new().stack_size(64 * 1024).spawn(move || answer(stream))?;
    }
    Ok(())
}

static ANSWERED: AtomicU64 = AtomicU64::new(0);

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if buffer[..length].starts_with(b"GET /answered ") {
            let count = ANSWERED.load(Ordering::Relaxed).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", count.len());
            // Who asked and went away wants no answer.
            let _ = stream.write_all((head + &count).as_bytes());
            return;
        }
        ANSWERED.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}
