//! Regent's own processes, started by `failover up` from a release build; ended when dropped.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Bench;
use super::process::{Running, printed, program, wait_for};

const READY_WITHIN: Duration = Duration::from_secs(180);
/// `failover up` takes twenty a region.
const PORTS: u16 = 60;

pub struct Cluster {
    program: PathBuf,
    data_dir: PathBuf,
    /// As `failover up --ready-file` writes it.
    pub ready: Value,
    /// In the foreground, so that Ctrl-C here ends it and all that it started.
    _up: Running,
}

impl Cluster {
    pub fn start(bench: &Bench, folder: &Path, config: &Path, profile: &str) -> anyhow::Result<Cluster> {
        let (data_dir, ready_file, log) =
            (folder.join("data"), folder.join("ready.json"), folder.join("up.log"));
        let mut command = program(bench.program("failover"));
        command.arg("up").arg("--config").arg(config).arg("--data-dir").arg(&data_dir);
        command.arg("--ready-file").arg(&ready_file);
        command.args(["--profile", profile, "--base-port", &free_ports()?.to_string()]);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let up = Running::start(command)?;
        let mut cluster =
            Cluster { program: bench.program("failover"), data_dir, ready: Value::Null, _up: up };
        cluster.ready = wait_for("cluster that is ready", READY_WITHIN, || {
            if cluster._up.0.try_wait()?.is_some() {
                bail!("failover up ended:\n{}", std::fs::read_to_string(&log)?);
            }
            // Written whole, or not there.
            Ok(std::fs::read_to_string(&ready_file)
                .ok()
                .map(|text| serde_json::from_str(&text))
                .transpose()?)
        })?;
        Ok(cluster)
    }

    /// The operator's command.
    pub fn failover(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("--context").arg(self.data_dir.join("context.json")).args(args).stdin(Stdio::null());
        printed(command)
    }

    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.failover(&["status", "-o", "json"])?)?)
    }

    pub fn regions(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.ready["regions"].as_object().into_iter().flatten()
    }

    /// Of the first controller, agent or service of a region.
    pub fn pid(&self, region: &str, part: &str) -> anyhow::Result<u64> {
        let pid = self.ready["regions"][region][part]["pid"].as_u64();
        pid.with_context(|| format!("the ready file names no {part} in {region}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["down", "--data-dir"]).arg(&self.data_dir).stdin(Stdio::null());
        if let Err(error) = printed(command) {
            eprintln!("processes of {} may still run: {error:#}", self.data_dir.display());
        }
    }
}

/// In a row, below those that the kernel gives away, and beginning elsewhere in each process.
fn free_ports() -> anyhow::Result<u16> {
    const FIRST: u16 = 12_000;
    const BLOCKS: u16 = 120;
    let own = (std::process::id() % u32::from(BLOCKS)) as u16;
    let free = |port: u16| {
        UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
    };
    let mut bases = (own..BLOCKS).chain(0..own).map(|n| FIRST + n * PORTS);
    let found = bases.find(|base| (*base..base + PORTS).all(free));
    found.with_context(|| format!("no {PORTS} free ports in a row from {FIRST}"))
}
