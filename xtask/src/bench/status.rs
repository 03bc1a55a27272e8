//! The public status beside nginx serving the same bytes as a file, both by one worker, unpinned.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::Bench;
use super::process::{Running, printed, program, wait_for, with_open_files};
use super::table::{Row, Target, median};

const PATH: &str = "/api/v2/summary.json";
/// As many as a controller has threads for it.
const WORKERS: usize = 1;
const MANY: usize = 1_000;

pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let folder = bench.folder("status")?;
    let mut command = with_open_files(bench.example("status_bench"));
    command.arg("127.0.0.1:0").stdout(Stdio::piped());
    let mut ours = Running::start(command)?;
    let line = ours.first_line()?;
    let own = line.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let document = get(&own)?;
    let nginx = Nginx::start(&folder, &document)?;
    let (mut few, mut many) = (Pair::default(), Pair::default());
    for round in 1..=bench.rounds() {
        for (pair, connections) in [(&mut few, 64), (&mut many, MANY)] {
            pair.ours.push(load(&own, connections, bench.seconds)?);
            pair.theirs.push(load(&nginx.address, connections, bench.seconds)?);
        }
        let last = |runs: &[Load]| runs.last().map_or(f64::NAN, |load| load.requests_per_s.round());
        eprintln!("  round {round}: {} requests/s (nginx {})", last(&few.ours), last(&few.theirs));
    }
    let errors = many.ours.iter().chain(&few.ours).map(|load| load.errors).sum::<u64>();
    ensure!(errors == 0, "{errors} requests to ours failed");
    Ok(vec![
        few.row("summary.json, 64 connections", "requests/s", |load| load.requests_per_s)
            .target(Target::RatioAtLeast(0.6))
            .note(format!("{} bytes; {WORKERS} worker each", document.body.len())),
        many.row(&format!("summary.json, {MANY} connections, p99"), "ms", |load| load.p99_ms)
            .target(Target::AtMost(100.0))
            .note(format!(
                "{:.0} requests/s",
                median(&many.ours.iter().map(|l| l.requests_per_s).collect::<Vec<_>>())
            )),
    ])
}

#[derive(Default)]
struct Pair {
    ours: Vec<Load>,
    theirs: Vec<Load>,
}

impl Pair {
    fn row(&self, what: &str, unit: &'static str, figure: fn(&Load) -> f64) -> Row {
        let of = |runs: &[Load]| runs.iter().map(figure).collect::<Vec<f64>>();
        Row::beside(what, unit, &of(&self.ours), "nginx", &of(&self.theirs))
    }
}

struct Document {
    content_type: String,
    body: String,
}

fn get(address: &str) -> anyhow::Result<Document> {
    let mut stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without a body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{address}{PATH}: {head}");
    let header = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    });
    Ok(Document { content_type: header.context("no content-type")?, body: body.to_owned() })
}

struct Nginx {
    address: String,
    config: std::path::PathBuf,
    /// Dropped after it was told to end.
    _master: Running,
}

impl Nginx {
    /// With what makes it fast switched on, and only what a public status needs.
    fn start(folder: &Path, document: &Document) -> anyhow::Result<Nginx> {
        let file = folder.join("root").join(PATH.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().context("a path of several parts")?)?;
        std::fs::write(&file, &document.body)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config = folder.join("nginx.conf");
        std::fs::write(&config, nginx_config(folder, &address, &document.content_type))?;
        let mut command = with_open_files("nginx");
        command.arg("-c").arg(&config).args(["-g", "daemon off;"]).stdout(Stdio::null());
        let nginx = Nginx { address, config, _master: Running::start(command)? };
        wait_for("answer of nginx", Duration::from_secs(10), || Ok(TcpStream::connect(&nginx.address).ok()))?;
        let served = get(&nginx.address)?;
        ensure!(served.body == document.body, "nginx does not serve the same bytes");
        ensure!(
            served.content_type == document.content_type,
            "nginx serves {}, ours {}",
            served.content_type,
            document.content_type
        );
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers would outlive a master that is killed.
        let mut command = program("nginx");
        command.arg("-c").arg(&self.config).args(["-s", "stop"]);
        if let Err(error) = printed(command) {
            eprintln!("nginx may still run: {error:#}");
        }
        let _ = wait_for("end of nginx", Duration::from_secs(5), || Ok(self._master.0.try_wait()?));
    }
}

fn nginx_config(folder: &Path, address: &str, content_type: &str) -> String {
    let folder = folder.display();
    // Workers of a root's nginx would run as another, who may not read the folder.
    let user = if is_root() { "user root;" } else { "" };
    format!(
        "{user}
worker_processes {WORKERS};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {address} backlog=4096;
        root {folder}/root;
        types {{ }}
        default_type \"{content_type}\";
    }}
}}
"
    )
}

fn is_root() -> bool {
    let mut command = program("id");
    command.arg("-u");
    printed(command).is_ok_and(|uid| uid.trim() == "0")
}

#[derive(Debug, PartialEq)]
struct Load {
    requests_per_s: f64,
    p99_ms: f64,
    errors: u64,
}

fn load(address: &str, connections: usize, seconds: u64) -> anyhow::Result<Load> {
    let mut command = with_open_files("wrk");
    command.args(["-t1", "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "--latency"]);
    command.args(["--timeout", "10s", &format!("http://{address}{PATH}")]);
    parse(&printed(command)?)
}

fn parse(text: &str) -> anyhow::Result<Load> {
    let after = |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    let rate = after("Requests/sec:").and_then(|rate| rate.parse().ok());
    // `Socket errors: connect 0, read 0, write 0, timeout 3`
    let numbers =
        |line: &str| line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let errors =
        after("Socket errors:").map_or(0, numbers) + after("Non-2xx or 3xx responses:").map_or(0, numbers);
    match (rate, after("99%").and_then(milliseconds)) {
        (Some(requests_per_s), Some(p99_ms)) => Ok(Load { requests_per_s, p99_ms, errors }),
        _ => bail!("wrk said: {text}"),
    }
}

fn milliseconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let factor = match &text[digits.len()..] {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::{Load, parse};

    #[test]
    fn what_wrk_prints_is_understood() {
        let text = "  Latency Distribution\n     50%  635.00us\n     99%    1.05s \n  12 requests in 2.00s, 1MB read\n  \
            Socket errors: connect 0, read 1, write 0, timeout 3\n  Non-2xx or 3xx responses: 2\n\
            Requests/sec:  98765.43\nTransfer/sec:     1.00MB\n";
        let load = Load { requests_per_s: 98_765.43, p99_ms: 1_050.0, errors: 6 };
        assert_eq!(parse(text).expect("it is whole"), load);
        assert!(parse("unable to connect").is_err());
    }
}
