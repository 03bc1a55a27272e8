//! Short-lived programs of PostgreSQL: as its own user, bounded in time and in what is kept of
//! their output, ended with all their children when nobody waits for them any more.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::durable::Owner;
use super::error::{Class, PostgresError};

pub(super) struct Program<'a> {
    pub name: &'static str,
    pub doing: &'static str,
    pub bin_dir: &'a Path,
    pub args: Vec<OsString>,
    pub env: Vec<(&'static str, OsString)>,
    /// Also what leftovers are known by: see [`end_leftovers`].
    pub dir: PathBuf,
    pub owner: Option<Owner>,
    pub timeout_ms: u64,
}

pub(super) struct Finished {
    pub name: &'static str,
    pub doing: &'static str,
    pub status: ExitStatus,
    pub stdout: String,
    /// The end of it.
    pub stderr: String,
}

impl Finished {
    pub fn success(self, class: Class) -> Result<Finished, PostgresError> {
        if self.status.success() { Ok(self) } else { Err(self.failed(class)) }
    }

    pub fn failed(&self, class: Class) -> PostgresError {
        PostgresError::Program {
            program: self.name,
            doing: self.doing,
            status: self.status.to_string(),
            output: last_lines(&self.stderr),
            class,
        }
    }
}

/// Enough to read `pg_controldata` or a timeline's history; what errors need is far less.
const MOST_KEPT: usize = 1 << 20;

pub(super) async fn run(program: Program<'_>) -> Result<Finished, PostgresError> {
    run_watched(program, |_| Ok(())).await
}

/// `watch` sees each piece of the error output as it comes; its error ends the program.
pub(super) async fn run_watched(
    program: Program<'_>,
    watch: impl FnMut(&str) -> Result<(), PostgresError>,
) -> Result<Finished, PostgresError> {
    let Program { name, doing, timeout_ms, .. } = program;
    let (path, mut command) = command(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| missing(&path, &error))?;
    let mut group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let ended =
            async { child.wait().await.map_err(|error| PostgresError::io("waiting for", &path, &error)) };
        let (stdout, stderr, status) =
            tokio::try_join!(keep(stdout, |_| Ok(())), keep(stderr, watch), ended)?;
        Ok::<_, PostgresError>(Finished { name, doing, status, stdout, stderr })
    };
    let began = Instant::now();
    let finished = tokio::time::timeout(Duration::from_millis(timeout_ms), all)
        .await
        .map_err(|_| PostgresError::TimedOut { doing, after_ms: timeout_ms })??;
    tracing::debug!(name, doing, ms = began.elapsed().as_millis() as u64, status = %finished.status, "ran");
    group.0 = None;
    Ok(finished)
}

/// One that stays and is talked to; ended when dropped.
pub(super) struct Running {
    _child: Child,
    _group: Group,
}

/// What it says of errors is thrown away.
pub(super) fn start(program: Program<'_>) -> Result<(Running, ChildStdin, ChildStdout), PostgresError> {
    let (path, mut command) = command(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| missing(&path, &error))?;
    let group = Group::of(&child);
    let (stdin, stdout) = child
        .stdin
        .take()
        .zip(child.stdout.take())
        .ok_or_else(|| PostgresError::io("talking to", &path, &std::io::ErrorKind::BrokenPipe.into()))?;
    Ok((Running { _child: child, _group: group }, stdin, stdout))
}

fn command(program: Program<'_>) -> (PathBuf, Command) {
    let Program { name, bin_dir, args, env, dir, owner, .. } = program;
    let path = bin_dir.join(name);
    let mut command = Command::new(&path);
    let mut search = bin_dir.as_os_str().to_owned();
    search.push(":/usr/bin:/bin");
    command.args(args).env_clear().env("PATH", search).env("LC_ALL", "C").envs(env);
    command.current_dir(dir).process_group(0).kill_on_drop(true);
    if let Some(owner) = owner {
        // Leaving root this way also leaves root's further groups (std::process).
        command.gid(owner.gid).uid(owner.uid);
    }
    (path, command)
}

fn missing(path: &Path, error: &std::io::Error) -> PostgresError {
    PostgresError::Missing { program: path.display().to_string(), looked: error.to_string() }
}

/// The program and its children, ended when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // An error means that none is left.
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

/// Reads to the end, so that the program is never held up, and keeps the end of it.
async fn keep(
    pipe: Option<impl AsyncRead + Unpin>,
    mut watch: impl FnMut(&str) -> Result<(), PostgresError>,
) -> Result<String, PostgresError> {
    let mut kept: Vec<u8> = Vec::new();
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // An error in a pipe is its end.
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            break;
        }
        let piece = &buffer[..count];
        watch(&String::from_utf8_lossy(piece))?;
        kept.extend_from_slice(piece);
        if kept.len() > MOST_KEPT {
            kept.drain(..kept.len() - MOST_KEPT / 2);
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// For an error's text: the last lines, in one.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(6)..].join("; ");
    let from = last.char_indices().rev().nth(999).map_or(0, |(at, _)| at);
    last[from..].to_owned()
}

/// Ends programs that an earlier run of this agent left behind when it was killed: those that work
/// in this folder, which is Regent's own. Nothing else has a reason to be there.
pub(super) async fn end_leftovers(dir: &Path) -> Result<(), PostgresError> {
    const WAIT: Duration = Duration::from_secs(10);
    let until = tokio::time::Instant::now() + WAIT;
    loop {
        let left = working_in(dir);
        if left.is_empty() {
            return Ok(());
        }
        for pid in left {
            let _ = kill(pid, Signal::SIGKILL);
        }
        if tokio::time::Instant::now() > until {
            let after_ms = WAIT.as_millis() as u64;
            return Err(PostgresError::TimedOut { doing: "ending programs of an earlier run", after_ms });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn working_in(dir: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        let cwd = std::fs::read_link(entry.path().join("cwd"));
        if let (Some(pid), Ok(cwd)) = (pid, cwd) {
            // The kernel says so of a folder that is removed.
            let removed = cwd.to_str().and_then(|text| text.strip_suffix(" (deleted)")).map(Path::new);
            if cwd.starts_with(dir) || removed.is_some_and(|cwd| cwd.starts_with(dir)) {
                found.push(pid);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout_ms: u64) -> Program<'static> {
        Program {
            name: "sh",
            doing: "testing",
            bin_dir: Path::new("/bin"),
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            dir: "/".into(),
            owner: None,
            timeout_ms,
        }
    }

    #[tokio::test]
    async fn what_failed_says_how() {
        let finished = run(shell("echo out; echo why >&2; exit 3", 10_000)).await.unwrap();
        assert_eq!(finished.stdout, "out\n");
        let error = finished.failed(Class::Person).to_string();
        assert!(error.contains("exit status: 3") && error.contains("why"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = shell("sleep 600 & sleep 600", 50);
        program.dir = dir.path().canonicalize().unwrap();
        let folder = program.dir.clone();
        let error = run(program).await.err().unwrap();
        assert!(matches!(error, PostgresError::TimedOut { .. }), "{error}");
        while !working_in(&folder).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn endless_output_is_bounded() {
        let finished = run(shell("head -c 5000000 /dev/zero | tr '\\0' x", 60_000)).await.unwrap();
        assert!(finished.stdout.len() <= MOST_KEPT);
        assert!(last_lines(&finished.stdout).len() <= 1000);
    }
}
