//! A guard of the test's own, a PostgreSQL below it, and sessions that write.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use region_agent::guard::client::{Events, Guard, Settings};
use region_agent::guard::protocol::{Ended, Event, Lease, Role, Start, Status};
use region_agent::guard::{self, now_ns};

pub const GUARD: &str = env!("CARGO_BIN_EXE_regent-guard");
/// However loaded the machine is.
pub const SOON: Duration = Duration::from_secs(60);
pub const MS: u64 = 1_000_000;
/// What fencing may take here: from the deadline to the last process gone, and to the last commit
/// that a client saw acknowledged. Measured: a few milliseconds on a machine that is not loaded.
pub const BUDGET_NS: u64 = 250 * MS;

/// A folder with a guard's socket and log, and room for PostgreSQL.
pub struct Place {
    pub dir: PathBuf,
    owned: Option<tempfile::TempDir>,
}

impl Place {
    pub fn new() -> Place {
        let owned = tempfile::tempdir().unwrap();
        let dir = owned.path().to_owned();
        // PostgreSQL's user passes through.
        fs::set_permissions(&dir, Permissions::from_mode(0o711)).unwrap();
        fs::create_dir(dir.join("pg")).unwrap();
        if let Some(user) = os_user() {
            let user = User::from_name(&user).unwrap().unwrap();
            nix::unistd::chown(&dir.join("pg"), Some(user.uid), Some(user.gid)).unwrap();
        }
        Place { dir, owned: Some(owned) }
    }

    /// That of another process, which ends it.
    pub fn borrowed(dir: &Path) -> Place {
        Place { dir: dir.to_owned(), owned: None }
    }

    pub fn with_postgres() -> Place {
        let place = Place::new();
        let data = place.data();
        let done = exec(&place.dir)
            .arg(bin("initdb"))
            .args(["-N", "-A", "trust", "-U", "postgres", "--no-instructions", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        place
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("pg/data")
    }

    pub fn settings(&self) -> Settings {
        Settings {
            guard: guard::Settings {
                socket: self.dir.join("guard/socket"),
                log: self.dir.join("guard.log"),
                watchdog: None,
            },
            program: Some(GUARD.into()),
            timeout: SOON,
        }
    }

    pub async fn guard(&self) -> (Guard, Events, Status) {
        Guard::connect_or_spawn(&self.settings()).await.unwrap()
    }

    pub fn start(&self, role: Role) -> Start {
        let postgres = bin("postgres").display().to_string();
        let data = self.data().display().to_string();
        let sockets = format!("unix_socket_directories={}", self.dir.join("pg").display());
        let argv = [&postgres, "-D", &data, "-c", "listen_addresses=", "-c", &sockets];
        self.start_program(&argv, role)
    }

    pub fn start_program(&self, argv: &[&str], role: Role) -> Start {
        Start {
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            os_user: os_user(),
            cwd: self.dir.join("pg"),
            log_file: self.dir.join("pg/log"),
            role,
        }
    }

    /// A shell that runs `script`, in place of PostgreSQL.
    pub fn start_shell(&self, script: &str, role: Role) -> Start {
        self.start_program(&["/bin/sh", "-c", script], role)
    }

    pub fn psql(&self) -> Command {
        let mut command = Command::new(bin("psql"));
        command.args(["-U", "postgres", "-d", "postgres", "-qAtX", "-h"]).arg(self.dir.join("pg"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    pub fn sql(&self, sql: &str) -> Option<String> {
        let output = self.psql().args(["-c", sql]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub fn wait_until_served(&self) {
        eventually("PostgreSQL serves", || self.sql("select 1").is_some());
    }

    pub fn make_table(&self) {
        self.wait_until_served();
        self.sql("create table if not exists t (at timestamptz default now())").expect("a table is made");
    }

    /// Every process of this PostgreSQL: each has its data folder as working directory. This does not
    /// depend on how the guard finds them.
    pub fn postgres_processes(&self) -> Vec<i32> {
        working_in(&self.data())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("guard.log")).unwrap_or_default()
    }
}

impl Drop for Place {
    /// Ends what a failed test left, by process number.
    fn drop(&mut self) {
        let Some(owned) = &self.owned else { return };
        if std::thread::panicking() {
            eprintln!("the guard's log:\n{}", self.log());
            eprintln!("PostgreSQL's:\n{}", fs::read_to_string(self.dir.join("pg/log")).unwrap_or_default());
        }
        // The folder's name is no other's.
        let name = owned.path().display().to_string();
        for _ in 0..3 {
            let left = pids().filter(|pid| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&name))
            });
            left.chain(self.postgres_processes()).for_each(|pid| signal(pid, Signal::SIGKILL));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub fn os_user() -> Option<String> {
    geteuid().is_root().then(|| "postgres".to_owned())
}

/// `regent-guard exec` as PostgreSQL's user.
pub fn exec(cwd: &Path) -> Command {
    let mut command = Command::new(GUARD);
    command
        .arg("exec")
        .args(os_user().iter().flat_map(|user| ["--user", user]))
        .arg("--cwd")
        .arg(cwd)
        .arg("--");
    command
}

/// Of the newest PostgreSQL here.
pub fn bin(name: &str) -> PathBuf {
    let newest = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed")
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("PostgreSQL is installed");
    format!("/usr/lib/postgresql/{newest}/bin/{name}").into()
}

/// Processes with this working directory.
pub fn working_in(dir: &Path) -> Vec<i32> {
    pids().filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir)).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Neither ended nor waiting to be reaped.
pub fn lives(pid: i32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

pub fn parent_of(pid: i32) -> i32 {
    stat_field(pid, 1).unwrap().parse().unwrap()
}

fn stat_field(pid: i32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(field).map(str::to_owned)
}

#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn lease(epoch: u64, ahead_ms: u64) -> Lease {
    Lease { epoch, deadline_ns: now_ns() + ahead_ms * MS }
}

pub async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(SOON, events.recv()).await.expect("an event in time").expect("the guard is there")
}

pub async fn exited(events: &mut Events) -> Ended {
    match next(events).await {
        Event::Exited(ended) => ended,
        other => panic!("not the exit: {other:?}"),
    }
}

/// Passes over the exit.
pub async fn gone(events: &mut Events) -> Ended {
    loop {
        if let Event::Gone(ended) = next(events).await {
            return ended;
        }
    }
}

/// Sessions that each commit one row after the other.
pub struct Writers {
    last_acknowledged: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
    sessions: Vec<Child>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub fn start(place: &Place, sessions: usize) -> Writers {
        let mut writers = Writers {
            last_acknowledged: Arc::default(),
            count: Arc::default(),
            sessions: Vec::new(),
            threads: Vec::new(),
        };
        let begun = Arc::<AtomicUsize>::default();
        for _ in 0..sessions {
            let mut psql = place.psql().spawn().unwrap();
            let (mut ask, answers) =
                (psql.stdin.take().unwrap(), BufReader::new(psql.stdout.take().unwrap()));
            let (last, count) = (Arc::clone(&writers.last_acknowledged), Arc::clone(&writers.count));
            let begun = Arc::clone(&begun);
            writers.sessions.push(psql);
            writers.threads.push(std::thread::spawn(move || {
                let mut answers = answers.lines();
                for turn in 1.. {
                    if ask.write_all(b"insert into t default values returning 'committed';\n").is_err() {
                        return;
                    }
                    match answers.next() {
                        Some(Ok(line)) if line == "committed" => {}
                        _ => return,
                    }
                    last.fetch_max(now_ns(), Ordering::SeqCst);
                    count.fetch_add(1, Ordering::SeqCst);
                    if turn == 5 {
                        begun.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }));
        }
        eventually("every session commits", || begun.load(Ordering::SeqCst) == sessions);
        writers
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for all sessions to end; when the last acknowledgement came, and how many did.
    pub fn finish(mut self) -> (u64, u64) {
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap();
        }
        (self.last_acknowledged.load(Ordering::SeqCst), self.count())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for session in &mut self.sessions {
            let _ = session.kill();
            let _ = session.wait();
        }
    }
}

/// In milliseconds, for people.
pub fn ms(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / MS as f64
}
