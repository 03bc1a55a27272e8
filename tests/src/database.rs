//! The database of a cluster: its servers as processes, and clients that keep a record.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{Cluster, eventually, program, text};

/// Of the service that has a database.
const SERVICE: &str = "app";

impl Cluster {
    pub fn database(&self) -> anyhow::Result<Value> {
        let status = self.status()?;
        let services = status["services"].as_array().context("no services")?;
        let service =
            services.iter().find(|service| service["name"] == SERVICE).context("no such service")?;
        Ok(service["database"].clone())
    }

    pub fn writer(&self) -> anyhow::Result<String> {
        let writer = self.database()?["writer"].as_str().context("nobody writes")?.to_owned();
        Ok(writer)
    }

    pub fn epoch(&self) -> anyhow::Result<u64> {
        self.database()?["epoch"].as_u64().context("no epoch")
    }

    pub fn instance(&self, region: &str) -> anyhow::Result<Value> {
        let database = self.database()?;
        let instances = database["instances"].as_array().context("no instances")?;
        instances.iter().find(|instance| instance["region"] == region).cloned().context("no such instance")
    }

    /// What a person is told of it; empty when all is well.
    pub fn problem(&self, region: &str) -> anyhow::Result<String> {
        Ok(self.instance(region)?["problem"].as_str().unwrap_or_default().to_owned())
    }

    pub fn data_folder(&self, region: &str) -> anyhow::Result<PathBuf> {
        self.data_folders.get(region).cloned().context("up started no server there")
    }

    fn postgres(&self, region: &str, what: &str) -> &Value {
        &self.ready["regions"][region]["postgres"][what]
    }

    pub fn postgres_port(&self, region: &str) -> u16 {
        self.postgres(region, "port").as_u64().expect("up tells where servers listen") as u16
    }

    pub fn dsn(&self, region: &str) -> String {
        self.postgres(region, "dsn").as_str().expect("up tells how to connect").to_owned()
    }

    /// A connection string over all servers, as a client's library takes it.
    pub fn everywhere(&self) -> String {
        let dsns: Vec<String> = self.regions().iter().map(|region| self.dsn(region)).collect();
        let (user, rest) = dsns[0].split_once('@').expect("it names a user");
        let (_, database) = rest.rsplit_once('/').expect("it names a database");
        let servers: Vec<&str> = dsns
            .iter()
            .filter_map(|dsn| dsn.split_once('@')?.1.rsplit_once('/'))
            .map(|(server, _)| server)
            .collect();
        format!("{user}@{}/{database}?target_session_attrs=read-write&connect_timeout=2", servers.join(","))
    }

    /// Of the server that runs there.
    pub fn postmaster(&self, region: &str) -> anyhow::Result<Pid> {
        let file = self.data_folder(region)?.join("postmaster.pid");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).context("no pid")?;
        ensure!(std::fs::exists(format!("/proc/{pid}"))?, "it does not run");
        Ok(Pid::from_raw(pid))
    }

    /// As the superuser, from this machine.
    pub fn superuser(&self, region: &str) -> anyhow::Result<String> {
        let mut socket = self.data_folder(region)?.into_os_string();
        socket.push("-socket");
        let port = self.postgres_port(region);
        Ok(format!("host={} port={port} user=postgres dbname=postgres", socket.display()))
    }

    /// To the server and all its processes.
    pub fn signal_postgres(&self, region: &str, signal: Signal) -> anyhow::Result<()> {
        let postmaster = self.postmaster(region)?;
        let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
        for child in children.split_whitespace() {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(child.parse()?), signal);
        }
        Ok(kill(postmaster, signal)?)
    }

    /// Its agent is killed, and its server shut down in order.
    pub fn stop_instance(&self, region: &str) -> anyhow::Result<()> {
        self.signal(region, "agent", Signal::SIGKILL)?;
        let agents = std::fs::read_dir(self.data_dir().join(region))?.flatten().map(|entry| entry.path());
        let sockets = agents.map(|agent| agent.join(format!("databases/{SERVICE}/guard.sock")));
        for socket in sockets.filter(|socket| socket.exists()) {
            let ended =
                Command::new(program("regent-guard")?).arg("end").arg("--socket").arg(&socket).output()?;
            ensure!(ended.status.success(), "{}", text(&ended));
        }
        Ok(())
    }

    /// Another database, of nobody's, where one was.
    pub fn initdb(&self, folder: &Path) -> anyhow::Result<()> {
        let parent = std::fs::metadata(folder.parent().context("it is not the root")?)?;
        let mut command = Command::new(programs()?.join("initdb"));
        command.arg("-D").arg(folder).args(["-U", "postgres", "-N"]).current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.gid(parent.gid()).uid(parent.uid());
        }
        let made = command.output()?;
        ensure!(made.status.success(), "{}", text(&made));
        Ok(())
    }

    pub fn kill_postgres(&self, region: &str) -> anyhow::Result<()> {
        Ok(kill(self.postmaster(region)?, Signal::SIGKILL)?)
    }

    /// It follows the writer, and nothing is wrong with it.
    pub fn follows(&self, region: &str) -> anyhow::Result<bool> {
        let instance = self.instance(region)?;
        Ok(instance["role"]["streaming"] == true && instance["problem"].is_null())
    }

    pub fn all_is_well(&self) -> anyhow::Result<()> {
        eventually("a writer, and everybody else follows", || {
            let writer = self.writer()?;
            for region in self.regions() {
                if region != writer && !self.follows(&region)? {
                    return Ok(false);
                }
            }
            Ok(psql(&self.dsn(&writer), "select not pg_is_in_recovery()")? == "t")
        })
    }
}

/// Where PostgreSQL's own programs are.
pub fn programs() -> anyhow::Result<PathBuf> {
    let installed =
        std::fs::read_dir("/usr/lib/postgresql").context("the packages of Debian are installed")?;
    let mut found: Vec<PathBuf> = installed.flatten().map(|version| version.path().join("bin")).collect();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().context("PostgreSQL's server is installed")
}

pub fn psql(dsn: &str, sql: &str) -> anyhow::Result<String> {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", sql]);
    let output = command.env("PGCONNECT_TIMEOUT", "5").stdin(Stdio::null()).output().context("psql")?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A client that inserts one number after the other, and keeps those that were acknowledged.
pub struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(cluster: &Cluster) -> anyhow::Result<Writer> {
        let dsn = cluster.everywhere();
        psql(&dsn, "create table if not exists numbers (n bigint primary key)")?;
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
        let (stopped, record) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) {
                // One that was not acknowledged may be there all the same: the next has another number.
                n += 1;
                if psql(&dsn, &format!("insert into numbers values ({n})")).is_ok() {
                    record.lock().expect("no panic under this lock").insert(n);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Ok(Writer { stop, acknowledged, thread: Some(thread) })
    }

    fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().expect("no panic under this lock").clone()
    }

    /// Something more is acknowledged than now.
    pub fn goes_on(&self) -> anyhow::Result<()> {
        let before = self.acknowledged().len();
        eventually("the client writes", || Ok(self.acknowledged().len() > before + 2))
    }

    /// S3: whatever was acknowledged is there.
    pub fn lost_nothing(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.goes_on()?;
        let acknowledged = self.acknowledged();
        let rows = psql(&cluster.everywhere(), "select n from numbers")?;
        let there: BTreeSet<u64> = rows.lines().filter_map(|line| line.parse().ok()).collect();
        let lost: Vec<&u64> = acknowledged.difference(&there).collect();
        ensure!(lost.is_empty(), "acknowledged and gone: {lost:?} of {}", acknowledged.len());
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
