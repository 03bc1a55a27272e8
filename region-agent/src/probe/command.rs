//! A command of the operator's own, in a process group of its own, so that at the deadline all
//! that it started ends with it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::Instant;

/// What is kept of its last words, in bytes.
const STDERR_MAX_BYTES: usize = 512;
/// For its last words once it has ended: a child of its own may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Ahead of the deadline, so that the group is ended before anybody stops waiting.
const MARGIN: Duration = Duration::from_millis(2);

pub(super) async fn probe(argv: &[String], deadline: Instant) -> Result<(), String> {
    let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let stderr = child.stderr.take();
    let mut group = Group { child, ended: false };
    let words = tokio::spawn(last_words(stderr));
    let status = tokio::time::timeout_at(deadline - MARGIN, group.wait()).await;
    match status {
        Ok(Ok(status)) if status.success() => {
            words.abort();
            Ok(())
        }
        Ok(Ok(status)) => {
            let words = tokio::time::timeout(LAST_WORDS, words).await;
            let words = words.ok().and_then(Result::ok).unwrap_or_default();
            Err(failure(program, status, &words))
        }
        Ok(Err(error)) => Err(format!("{program} was lost: {error}")),
        Err(_) => {
            words.abort();
            Err(format!("{program} had not ended in time and was killed"))
        }
    }
}

fn failure(program: &str, status: ExitStatus, words: &str) -> String {
    let last_line = words.lines().rev().find(|line| !line.trim().is_empty());
    match last_line {
        Some(line) => format!("{program}: {status}: {}", line.trim()),
        None => format!("{program}: {status}"),
    }
}

/// Reads to the end, so that nobody blocks on a full pipe, and keeps the last of it.
async fn last_words(stderr: Option<ChildStderr>) -> String {
    let Some(stderr) = stderr else { return String::new() };
    let mut reader = BufReader::new(stderr);
    let mut kept = Vec::new();
    let mut buffer = [0; STDERR_MAX_BYTES];
    while let Ok(length) = reader.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..length]);
        kept.drain(..kept.len().saturating_sub(STDERR_MAX_BYTES));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

struct Group {
    child: Child,
    ended: bool,
}

impl Group {
    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.ended = true;
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once it was waited for, its id may be another's.
        let id = self.child.id().filter(|_| !self.ended).and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
