//! Programs that end with us, and what /proc tells of them.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Killed when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    pub fn start(mut command: Command) -> anyhow::Result<Running> {
        let text = text(&command);
        Ok(Running(command.spawn().context(text)?))
    }

    /// Started with its output piped: the first line of it.
    pub fn first_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let output = self.0.stdout.as_mut().context("no output was asked for")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

/// A program that may also lie where only root looks.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
    command
}

/// The same with as many open files as are allowed: a thousand connections need more than the usual 1,024.
pub fn with_open_files(name: impl AsRef<OsStr>) -> Command {
    let mut command = program("sh");
    command.args(["-c", "ulimit -S -n $(ulimit -H -n) && exec \"$0\" \"$@\""]).arg(name);
    command
}

/// Without the environment, which is long and the same for all.
fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// What a program printed, if it ended well.
pub fn printed(mut command: Command) -> anyhow::Result<String> {
    let text = text(&command);
    let output = command.output().with_context(|| text.clone())?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{text}: {}\n{out}{err}", output.status);
    }
    Ok(out.into_owned())
}

/// Processor time so far in seconds, all threads (proc(5), fields 14 and 15 of `stat`).
pub fn cpu_s(pid: u64) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("an odd stat")?.1.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|ticks| ticks.parse::<f64>().ok()).context("an odd stat");
    // 100 a second on every Linux there is (USER_HZ).
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// A field of `status` or `smaps_rollup`, which are in kB.
pub fn memory_mib(pid: u64, file: &str, field: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let found =
        text.lines().find_map(|line| line.strip_prefix(field)).and_then(|rest| rest.strip_prefix(':'));
    let kib = found.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {field} in {path}"))? / 1_024.0)
}

/// Looks again and again until there is something.
pub fn wait_for<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > within {
            bail!("no {what} within {within:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
