//! Network namespaces: names that say who owns them, making, entering and removing.

use std::fs::{self, File};
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Error;
use super::error::During;

/// Where `ip netns` keeps the names.
const FOLDER: &str = "/run/netns";
const PREFIX: &str = "rg";
/// Killed processes end at once, but for one that waits for a disk.
const DEATH: Duration = Duration::from_secs(10);

/// A namespace called `rg<pid>-<start>-<n>-<network>-<region>`. Process id and start time name one process
/// for as long as the machine is up, so that names neither collide nor seem owned by a later process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space(String);

impl Space {
    /// Names for the regions of a new network of this process.
    pub(super) fn names(network: &str, regions: &[&str]) -> Result<Vec<Space>, Error> {
        static NETWORKS: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        let start = started(pid).during("reading /proc/self/stat")?;
        let n = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = |region: &&str| Space(format!("{PREFIX}{pid}-{start:x}-{n}-{network}-{region}"));
        Ok(regions.iter().map(name).collect())
    }

    pub(super) fn named(name: String) -> Space {
        Space(name)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    pub(super) fn make(&self) -> Result<(), Error> {
        ip(&["netns", "add", &self.0])?;
        ip(&["-n", &self.0, "link", "set", "lo", "up"]).map(drop)
    }

    /// Runs `f` on a thread of its own inside. Sockets it makes stay there wherever they are used later.
    pub(super) fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let path = self.path();
        let file = File::open(&path).during(format!("opening {}", path.display()))?;
        let inside = || setns(file, CloneFlags::CLONE_NEWNET).map(|()| f());
        let result = thread::scope(|scope| scope.spawn(inside).join());
        result.unwrap_or_else(|panic| resume_unwind(panic)).during(format!("entering {}", self.0))
    }

    /// Kills what runs inside and removes the name, if it is still there. Devices and routes go with the last
    /// process and socket.
    fn remove(&self) -> Result<(), Error> {
        if !self.path().exists() {
            return Ok(());
        }
        self.kill_all()?;
        match ip(&["netns", "del", &self.0]) {
            Err(_) if !self.path().exists() => Ok(()),
            done => done.map(drop),
        }
    }

    fn kill_all(&self) -> Result<(), Error> {
        let deadline = Instant::now() + DEATH;
        loop {
            let pids = match ip(&["netns", "pids", &self.0]) {
                Err(_) if !self.path().exists() => return Ok(()),
                listed => listed?,
            };
            let pids: Vec<i32> = pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(error).during(format!("killing process {pid} in {}", self.0)),
                }
            }
            if Instant::now() > deadline {
                return Err(Error::Undying(self.0.clone()));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn path(&self) -> PathBuf {
        [FOLDER, &self.0].iter().collect()
    }

    /// The process it was made for; none for names of others.
    fn owner(&self) -> Option<(u32, u64)> {
        let (pid, rest) = self.0.strip_prefix(PREFIX)?.split_once('-')?;
        let (start, _) = rest.split_once('-')?;
        Some((pid.parse().ok()?, u64::from_str_radix(start, 16).ok()?))
    }
}

/// Removes all it can; gives the first error.
pub(super) fn remove_all(spaces: &[Space]) -> Result<(), Error> {
    let mut done = Ok(());
    for space in spaces {
        done = done.and(space.remove());
    }
    done
}

/// Removes namespaces whose owner is dead, with the processes in them; says which.
pub(super) fn sweep() -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.during(format!("listing {FOLDER}"))?,
    };
    let mut left = Vec::new();
    for entry in entries {
        let name = entry.during(format!("listing {FOLDER}"))?.file_name();
        let space = Space(name.to_string_lossy().into_owned());
        if space.owner().is_some_and(|(pid, start)| started(pid).ok() != Some(start)) {
            left.push(space);
        }
    }
    remove_all(&left)?;
    Ok(left.into_iter().map(|space| space.0).collect())
}

/// When a process began, in ticks since the machine did. Fails for one that has ended, also if its parent
/// has not asked after it yet.
fn started(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // proc(5): the second field is a name in parentheses, which may contain any; `starttime` is field 22.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    match (fields.next(), fields.nth(18).map(str::parse)) {
        (Some("Z" | "X"), _) => Err(io::ErrorKind::NotFound.into()),
        (_, Some(Ok(start))) => Ok(start),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Runs `ip`; gives what it printed.
pub(super) fn ip(args: &[&str]) -> Result<String, Error> {
    let command = format!("ip {}", args.join(" "));
    match Command::new("ip").args(args).output() {
        Err(source) => Err(Error::NoProgram { command, package: "iproute2", source }),
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::Command { command, said })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        let spaces = Space::names("some-net", &["us-east-1", "client"]).unwrap();
        let own = (std::process::id(), started(std::process::id()).unwrap());
        assert!(spaces[0].name().ends_with("-some-net-us-east-1"));
        assert!(spaces.iter().all(|space| space.owner() == Some(own)));
        assert_ne!(spaces, Space::names("some-net", &["us-east-1", "client"]).unwrap());
    }

    #[test]
    fn names_of_others_have_no_owner() {
        for name in ["rg", "rgx-1-a", "rg12", "rg12-zz-a", "docker-rg12-1-a", "regent"] {
            assert_eq!(Space::named(name.to_owned()).owner(), None, "{name}");
        }
    }
}
