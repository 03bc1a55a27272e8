//! The processes that `up` starts: known by pid and start time, so that nobody else's is ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cli::exit::Failure;

/// The list of what runs, below the data folder.
const FILE: &str = "processes.json";
/// After this a process that was asked to end is killed.
const END_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As `eu-west-1 controller 2`.
    pub name: String,
    pub pid: i32,
    /// In clock ticks since boot (proc(5)); a pid alone may have gone to another.
    pub started: u64,
}

/// Starts a program in a process group of its own, so that Ctrl-C reaches only us; what it says
/// goes to `log`.
pub fn spawn(name: &str, program: &Path, args: &[String], log: &Path) -> Result<Process, Failure> {
    let failed = |error: std::io::Error| Failure::error(format!("{name}: {}: {error}", program.display()));
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = File::options().create(true).append(true).open(log).map_err(failed)?;
    let mut command = std::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(failed)?;
    let pid = child.id() as i32;
    // Reaped by whoever waits for it: see `ended`.
    let started = started(pid)
        .ok_or_else(|| Failure::error(format!("{name}: ended at once; see {}", log.display())))?;
    Ok(Process { name: name.to_owned(), pid, started })
}

impl Process {
    pub fn is_running(&self) -> bool {
        started(self.pid) == Some(self.started)
    }

    fn signal(&self, signal: Signal) {
        if self.is_running() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Asks all to end, waits, and kills what did not.
pub async fn end(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::SIGTERM);
        // One that is stopped could not end.
        process.signal(Signal::SIGCONT);
    }
    let deadline = Instant::now() + END_WITHIN;
    while processes.iter().any(Process::is_running) && Instant::now() < deadline {
        reap();
        tokio::time::sleep(LOOK_EVERY).await;
    }
    for process in processes {
        process.signal(Signal::SIGKILL);
    }
    while processes.iter().any(Process::is_running) {
        reap();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes notice of children that ended, whoever ended them.
pub fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// When a process started; none when it is gone, or dead and not yet reaped.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything.
    let rest = stat.rsplit_once(')')?.1;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

pub fn save(data_dir: &Path, processes: &[Process]) -> Result<(), Failure> {
    let path = data_dir.join(FILE);
    let text = serde_json::to_string_pretty(processes).map_err(|error| Failure::error(error.to_string()))?;
    write_whole(&path, &text)
}

/// What an earlier `up` started and is still running.
pub fn running(data_dir: &Path) -> Vec<Process> {
    let listed: Vec<Process> = fs::read_to_string(data_dir.join(FILE))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    listed.into_iter().filter(Process::is_running).collect()
}

pub fn forget(data_dir: &Path) {
    let _ = fs::remove_file(data_dir.join(FILE));
}

/// A reader sees the old file or the new one, never a part.
pub fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::error(format!("{}: {error}", path.display()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
