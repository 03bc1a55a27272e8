//! Faults of a disk, as the processes that use it meet them: `strace` answers for the kernel while it is attached.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ATTACHED_WITHIN: Duration = Duration::from_secs(10);
const ENDED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What strace writes behind a call that it tampered with; or that it still delays, or did when it let go, or when whoever
/// made it was killed.
const MARKS: [&str; 5] = ["(INJECTED)", "(DELAYED)", "<unfinished ...>", "<detached ...>", "= ?"];

/// What becomes of each `fsync` and `fdatasync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// It fails, and nothing is synced.
    Fails,
    /// It begins so much later.
    Late(Duration),
}

/// As long as this lives, the processes' syncs are tampered with, and those of the processes they start.
pub(super) struct Tampered {
    strace: Child,
    trace: PathBuf,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Refused {
    /// And what to do about it.
    NotPossible(String),
    /// They ended meanwhile.
    NobodyThere,
}

impl Tampered {
    /// Returns once it is attached to each of them that lives. `trace` is written.
    pub fn begin(pids: &[Pid], sync: Sync, trace: &Path) -> anyhow::Result<Result<Tampered, Refused>> {
        if pids.is_empty() {
            return Ok(Err(Refused::NobodyThere));
        }
        let what = match sync {
            Sync::Fails => "error=EIO".to_owned(),
            Sync::Late(late) => format!("delay_enter={}", late.as_micros()),
        };
        let said = trace.with_extension("said");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "signal=none", "-e", "trace=fsync,fdatasync"]);
        command.arg("-e").arg(format!("inject=fsync,fdatasync:{what}")).arg("-o").arg(trace);
        command.args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]));
        let said_file = File::create(&said).with_context(|| said.display().to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said_file);
        let strace = match command.spawn() {
            Ok(strace) => strace,
            Err(error) => {
                return Ok(Err(Refused::NotPossible(format!("strace does not run: {error}; install it"))));
            }
        };
        let mut tampered = Tampered { strace, trace: trace.to_owned() };
        let began = Instant::now();
        while !tampered.holds(pids) {
            if let Some(status) = tampered.strace.try_wait()? {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                return Ok(Err(match said.contains("Operation not permitted") {
                    true => Refused::NotPossible(format!(
                        "ptrace is not permitted here ({}): give CAP_SYS_PTRACE, and look at kernel.yama.ptrace_scope",
                        said.trim()
                    )),
                    false if pids.iter().any(lives) => anyhow::bail!("strace: {status}: {}", said.trim()),
                    false => Refused::NobodyThere,
                }));
            }
            anyhow::ensure!(
                began.elapsed() < ATTACHED_WITHIN,
                "strace does not attach within {ATTACHED_WITHIN:?}"
            );
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(Ok(tampered))
    }

    /// Whether every one that lives is traced by it.
    fn holds(&self, pids: &[Pid]) -> bool {
        let tracer = self.strace.id().to_string();
        let is_held = |pid: &Pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let traced = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
            traced.is_none_or(|by| by.trim() == tracer)
        };
        pids.iter().any(lives) && pids.iter().all(is_held)
    }

    /// How many calls were tampered with so far.
    pub fn calls(&self) -> usize {
        calls(&String::from_utf8_lossy(&std::fs::read(&self.trace).unwrap_or_default()))
    }

    /// Lets go of them, and says how many calls it met.
    pub fn end(mut self) -> usize {
        self.let_go();
        self.calls()
    }

    fn let_go(&mut self) {
        // Told to end, it lets go in order; killed, the kernel does.
        let _ = kill(Pid::from_raw(self.strace.id() as i32), Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.strace.try_wait(), Ok(None)) {
            if began.elapsed() > ENDED_WITHIN {
                let _ = self.strace.kill();
                let _ = self.strace.wait();
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Tampered {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A call that is told in two lines counts once.
fn calls(trace: &str) -> usize {
    let is_one = |line: &&str| line.contains("sync(") && MARKS.iter().any(|mark| line.contains(mark));
    trace.lines().filter(is_one).count()
}

/// A zombie does not.
fn lives(pid: &Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_that_was_tampered_with_counts_once() {
        let trace = "71 fdatasync(5) = -1 EIO (Input/output error) (INJECTED)\n\
                     72 fsync(9 <unfinished ...>\n\
                     71 fdatasync(5) = 0 (DELAYED)\n\
                     72 <... fsync resumed>) = 0 (DELAYED)\n\
                     73 fdatasync(5 <detached ...>\n\
                     74 fdatasync(5) = 0\n\
                     75 fdatasync(5)                      = ?\n";
        assert_eq!(calls(trace), 5);
    }
}
