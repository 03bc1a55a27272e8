//! Finding and killing every process below this one.
//!
//! PostgreSQL's backends are each a session of their own, so no signal to a group reaches them. But
//! this process is a *subreaper*: whoever loses its parent below comes to it. So a scan of `/proc`
//! finds them all, and the kernel proves when none is left: `waitpid` says `ECHILD`. A descendant
//! has ancestors up to this process, so without a child there is no descendant.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::protocol::ExitStatus;

/// One hunt for all that is below this process.
#[derive(Debug, Default)]
pub(super) struct Hunt {
    killed: BTreeSet<i32>,
}

impl Hunt {
    /// One round: `forker` is stopped first, so that it forks no more, and killed last. Rounds are
    /// repeated until none is left, which also finds what was forked between.
    ///
    /// # Errors
    /// When not all could be found, or killed; those that could be, were.
    pub(super) fn round(&mut self, forker: Option<Pid>) -> io::Result<()> {
        if let Some(forker) = forker {
            // Not reaped yet, so its number is not another's.
            let _ = kill(forker, Signal::SIGSTOP);
        }
        let found = descendants(getpid());
        let mut outcome = Ok(());
        let below = found.unwrap_or_else(|error| {
            outcome = Err(error);
            Vec::new()
        });
        let others = below.into_iter().filter(|pid| Some(*pid) != forker);
        for pid in others.chain(forker) {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) => {
                    self.killed.insert(pid.as_raw());
                }
                Err(Errno::ESRCH) => {}
                Err(error) => outcome = Err(io::Error::other(format!("cannot kill {pid}: {error}"))),
            }
        }
        outcome
    }

    pub(super) fn killed(&self) -> usize {
        self.killed.len()
    }
}

/// What [`reap`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaped {
    Ended(Pid, ExitStatus),
    /// Somebody ended by a signal that has no name (a real-time one), which hides who it was.
    Nameless,
    /// Nobody ended lately, and somebody is left.
    SomeLeft,
    /// There is no process below this one.
    NoneLeft,
}

/// Reaps one process that ended.
pub(super) fn reap() -> Reaped {
    loop {
        return match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => Reaped::Ended(pid, ExitStatus::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => Reaped::Ended(pid, ExitStatus::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) => Reaped::SomeLeft,
            // A stop, which was not asked for.
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => Reaped::NoneLeft,
            // The flags are fixed and right, so it is the signal that could not be understood.
            Err(_) => Reaped::Nameless,
        };
    }
}

/// All that live below `root`.
pub(super) fn descendants(root: Pid) -> io::Result<Vec<Pid>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut stat = Vec::with_capacity(512);
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        stat.clear();
        // Whoever ended meanwhile is nobody's concern.
        let read = fs::File::open(entry.path().join("stat")).and_then(|mut file| file.read_to_end(&mut stat));
        if read.is_ok()
            && let Some(parent) = living_parent(&stat)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut todo = vec![root.as_raw()];
    while let Some(pid) = todo.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().map(|pid| Pid::from_raw(*pid)));
        todo.extend(below);
    }
    Ok(found)
}

/// The parent, of a `/proc/PID/stat`; none of one that ended and waits to be reaped.
fn living_parent(stat: &[u8]) -> Option<i32> {
    // The name stands in brackets and may itself hold brackets, blanks and newlines.
    let after_name = stat.iter().rposition(|octet| *octet == b')')?;
    let mut fields = stat.get(after_name + 1..)?.split(|octet| *octet == b' ').skip(1);
    let state = fields.next()?;
    if matches!(state, b"Z" | b"X") {
        return None;
    }
    std::str::from_utf8(fields.next()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(living_parent(b"7 (a) S 3 7 7 0"), Some(3));
        assert_eq!(living_parent(b"7 (a) S 9 (b\n) R 4 7 7 0"), Some(4));
        assert_eq!(living_parent(b"7 (a) Z 3 7 7 0"), None);
        for bad in [&b""[..], b"7", b"7 (a)", b"7 (a) S", b"7 (a) S x", b")"] {
            assert_eq!(living_parent(bad), None);
        }
    }

    #[test]
    fn children_and_theirs_are_found() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        let grandchild = Pid::from_raw(line.trim().parse().unwrap());
        let found = descendants(getpid()).unwrap();
        assert!(found.contains(&Pid::from_raw(child.id().try_into().unwrap())), "{found:?}");
        assert!(found.contains(&grandchild), "{found:?}");
        kill(grandchild, Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }
}
