//! Real PostgreSQL for tests: each instance in a folder of its own, on a free port, as a user
//! without rights, ended by its process ids when dropped.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use decision::plan::Epoch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::Instant;
use wire::host::Host;

use super::{Desired, Postgres, Role, Secret, Settings, Sql, SyncStandbys, Upstream, run, slot_name};

/// Quick when alone; a machine under load is not.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PASSWORD: &str = "a:b\\c'd";

/// One instance. Its data are gone when it is dropped.
pub struct Instance {
    pub postgres: Postgres,
    process: Option<Child>,
    dir: TempDir,
}

impl Instance {
    /// Called so in `synchronous_standby_names`. Nothing is created yet.
    pub async fn new(name: &str) -> Instance {
        Instance::with(name, |_| {}).await
    }

    pub async fn with(name: &str, change: impl FnOnce(&mut Settings)) -> Instance {
        // In memory, where there is one: each clone and rewind syncs a thousand files.
        let memory = Path::new("/dev/shm");
        let room = super::durable::free_bytes(memory).is_ok_and(|free| free > 2 << 30);
        let parent = if room { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in(parent);
        let dir = dir.expect("a temporary folder can be made");
        // PostgreSQL's user passes through it.
        let passable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(dir.path(), passable).expect("the folder is ours");
        let (data, socket) = (dir.path().join("data"), dir.path().join("run"));
        let mut settings = Settings::new(data, socket, name, Secret::new(PASSWORD));
        settings.port = crate::testing::free_port();
        settings.listen_addresses = vec![Ipv4Addr::LOCALHOST.to_string()];
        settings.wal_keep_mib = 64;
        // A test is not to fail for a machine under load.
        settings.statement_timeout_ms = 20_000;
        settings.program_timeout_ms = 60_000;
        settings.transfer_timeout_ms = 300_000;
        for (name, value) in [("shared_buffers", "16MB"), ("max_connections", "30")] {
            settings.parameters.insert(name.to_owned(), value.to_owned());
        }
        change(&mut settings);
        let postgres =
            Postgres::open(settings, &Host::system()).await.unwrap_or_else(|error| panic!("{error}"));
        Instance { postgres, process: None, dir }
    }

    pub async fn primary(name: &str) -> Instance {
        Instance::new(name).await.leading().await
    }

    /// A running replica of it that streams through a slot of its own.
    pub async fn replica(name: &str, of: &Instance, epoch: u64) -> Instance {
        Instance::new(name).await.following(of, epoch).await
    }

    /// Copied from it, and streaming.
    pub async fn following(mut self, of: &Instance, epoch: u64) -> Instance {
        let instance = &mut self;
        let name = &instance.postgres.settings().application_name.clone();
        let slot = of.sql().await.ensure_slot(&slot(name)).await;
        slot.unwrap_or_else(|error| panic!("{error}"));
        let desired = replica(epoch, Some(of.upstream_for(name)));
        let cloned = instance.postgres.clone_from(&desired, |_| {}).await;
        cloned.unwrap_or_else(|error| panic!("{error}"));
        instance.start().await;
        of.wait_streaming(name).await;
        self
    }

    /// A running primary with the role for replication.
    pub async fn leading(mut self) -> Instance {
        self.postgres.create(&primary(1)).await.unwrap_or_else(|error| panic!("{error}"));
        self.start().await;
        self.sql().await.ensure_roles().await.unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// How that replica reaches this instance.
    pub fn upstream_for(&self, replica: &str) -> Upstream {
        let port = self.postgres.settings().port;
        Upstream { host: Ipv4Addr::LOCALHOST.to_string(), port, slot: Some(slot(replica)) }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.postgres.settings().data_dir.clone()
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Starts the server, without waiting for it.
    pub fn spawn(&mut self) {
        let launch = self.postgres.launch();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log"));
        let log = log.expect("the folder is ours");
        let errors = log.try_clone().expect("a file handle can be cloned");
        let mut command = Command::new(&launch.argv[0]);
        command.args(&launch.argv[1..]).env_clear().envs(launch.env).current_dir(&launch.dir);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        if let Some((uid, gid)) = launch.uid_gid {
            command.gid(gid).uid(uid);
        }
        self.process = Some(command.spawn().expect("the server's program was found before"));
    }

    /// Starts the server and waits until it answers.
    pub async fn start(&mut self) {
        self.spawn();
        let until = Instant::now() + PATIENCE;
        loop {
            let error = match self.postgres.connect().await {
                Ok(_) => return,
                Err(error) => error,
            };
            let ended = self.process.as_mut().is_some_and(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(!ended && Instant::now() < until, "{error}; its log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn sql(&self) -> Sql {
        self.postgres.connect().await.unwrap_or_else(|error| panic!("{error}; its log: {}", self.log()))
    }

    /// None when it does not run.
    pub async fn sql_if_any(&self) -> Option<Sql> {
        self.postgres.connect().await.ok()
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            let pid = i32::try_from(process.id()).expect("process ids are small");
            kill(Pid::from_raw(pid), signal).expect("it was not waited for yet");
        }
    }

    /// A clean, fast shutdown.
    pub async fn stop(&mut self) {
        self.signal(Signal::SIGINT);
        self.wait_ended().await;
    }

    pub async fn wait_ended(&mut self) {
        let until = Instant::now() + PATIENCE;
        while let Some(process) = &mut self.process {
            if !matches!(process.try_wait(), Ok(None)) {
                self.process = None;
            }
            assert!(Instant::now() < until, "it did not stop; its log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// As a machine does that loses power: the server and all its processes at once.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let Ok(data) = self.data().canonicalize() else { return };
        loop {
            let left = run::working_in(&data);
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub async fn wait_streaming(&self, replica: &str) {
        let sql = self.sql().await;
        eventually(&format!("{replica} streams"), async || {
            let seen = sql.observe().await.unwrap_or_else(|error| panic!("{error}"));
            seen.standbys.iter().any(|standby| standby.application_name == replica && standby.is_streaming())
        })
        .await;
    }

    /// By `psql`, as a client: over the private socket.
    pub fn psql(&self, sql: &str) -> Result<String, String> {
        let settings = self.postgres.settings();
        let mut command = Command::new(self.postgres.bin_dir().join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-U", &settings.superuser]);
        command.args(["-d", "postgres", "-p", &settings.port.to_string(), "-c", sql, "-h"]);
        command.arg(&settings.socket_dir).stdin(Stdio::null());
        let output = command.output().expect("psql is installed with PostgreSQL");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.crash();
    }
}

pub fn primary(epoch: u64) -> Desired {
    Desired { epoch: Epoch(epoch), role: Role::Primary, sync: SyncStandbys::None }
}

pub fn replica(epoch: u64, upstream: Option<Upstream>) -> Desired {
    Desired { epoch: Epoch(epoch), role: Role::Replica { upstream }, sync: SyncStandbys::None }
}

/// Of that replica, where the epoch does not matter.
pub fn slot(name: &str) -> String {
    slot_name(name, Epoch(1))
}

/// Waits for what must come.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < until, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
