//! The two processes of a guard, from their start to their loops.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, geteuid, setsid};

use super::backstop::{self, Backstop, Outcome};
use super::hold::Holder;
use super::launch::{close_inherited, lower_oom_score};
use super::log::{Log, append};
use super::serve::{Serve, block_signals};
use super::watchdog::Watchdog;

/// What both processes were told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub socket: PathBuf,
    pub log: PathBuf,
    /// The machine's, as `/dev/watchdog`.
    pub watchdog: Option<PathBuf>,
}

/// `regent-guard run`: the backstop, which starts the guard proper and watches it.
///
/// # Errors
/// When it could not start, and nothing was changed; or when the guard proper failed, and all that
/// it held is gone.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    close_inherited().context("cannot close inherited files")?;
    umask(Mode::from_bits_truncate(0o077));
    block_signals().context("cannot block signals")?;
    let dir = settings.socket.parent().filter(|dir| dir.is_absolute());
    let dir = dir.with_context(|| format!("{} is not an absolute path", settings.socket.display()))?;
    prepare_folder(dir)?;
    let lock = lock(&settings.socket)?;
    let log = Log::open(&settings.log, "backstop")
        .with_context(|| format!("cannot write {}", settings.log.display()))?;
    // A leader of a group, as a shell makes it, is refused; it is one already.
    let _ = setsid();
    prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    let oom_score_adj = protect(&log);
    let (reader, writer) = backstop::pipe().context("cannot make a pipe")?;
    // Three files are what a child can be given: the pipe, the lock, and where it says why it dies.
    let errors = append(&settings.log).context("cannot share the log")?;
    detach(&errors)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("hold").arg("--socket").arg(&settings.socket).arg("--log").arg(&settings.log);
    if let Some(path) = &settings.watchdog {
        command.arg("--watchdog").arg(path);
    }
    if let Some(value) = oom_score_adj {
        command.arg(format!("--oom-score-adj={value}"));
    }
    let lock_twin = lock.try_clone().context("cannot share the lock")?;
    command.stdin(writer).stdout(lock_twin).stderr(errors);
    let child = command.spawn().context("cannot start the guard")?;
    // It holds the other end of the pipe.
    drop(command);
    let guard = Pid::from_raw(i32::try_from(child.id()).context("a process number")?);
    log.line(format_args!("watches guard {guard}"));
    match backstop::watch(guard, reader, &log, settings.watchdog.as_ref())? {
        Outcome::Quit => Ok(()),
        Outcome::Fenced => {
            bail!("the guard failed; all that it held is gone, see {}", settings.log.display())
        }
    }
}

/// `regent-guard hold`: the guard proper, as `run` starts it.
///
/// # Errors
/// When it could not start, or can no longer wait. What it held dies with it.
pub fn hold(settings: Settings, oom_score_adj: Option<String>) -> anyhow::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    block_signals().context("cannot block signals")?;
    let log = Log::open(&settings.log, "guard")?;
    prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    lock_memory(&log);
    let pipe = io::stdin().as_fd().try_clone_to_owned().context("cannot take the pipe")?;
    // Two holders would keep its other end from noticing that this process is gone.
    dup2_stdin(File::open("/dev/null")?).context("cannot close the pipe")?;
    let backstop = Backstop::new(pipe).context("cannot use the pipe")?;
    let holder = Holder::new(log.clone(), oom_score_adj);
    let watchdog = Watchdog::new(settings.watchdog);
    let serve = Serve::new(settings.socket.clone(), log.clone(), holder, backstop, watchdog)?;
    log.line(format_args!("guard {} listens on {}", env!("CARGO_PKG_VERSION"), settings.socket.display()));
    let outcome = serve.run();
    if let Err(error) = &outcome {
        log.line(format_args!("cannot go on, what runs dies: {error:#}"));
    }
    outcome
}

/// The folder is this user's alone.
fn prepare_folder(dir: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make the folder {}", dir.display()));
        }
        _ => {}
    }
    let meta = fs::symlink_metadata(dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    if !meta.is_dir() || meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        bail!("{} must be a folder that only its owner, who runs the guard, can enter (0700)", dir.display());
    }
    Ok(())
}

/// Held by both processes, so it is free only once neither lives.
fn lock(socket: &Path) -> anyhow::Result<File> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = append(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("a guard for {} runs already; nothing was changed", socket.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn protect(log: &Log) -> Option<String> {
    // Ahead of a hundred backends that all want to run. It holds for this session only, which the guard
    // proper shares and PostgreSQL leaves.
    let _ = fs::write("/proc/self/autogroup", "-10");
    lock_memory(log);
    // Handed down to the guard proper.
    lower_oom_score().map_err(|error| log.line(format_args!("cannot lower the OOM score: {error}"))).ok()
}

/// What is swapped out does not run on time.
fn lock_memory(log: &Log) {
    // With a limit, memory wanted later would be refused, and that ends the process.
    let flags = match geteuid().is_root() {
        true => MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE,
        false => MlockAllFlags::MCL_CURRENT,
    };
    if let Err(error) = mlockall(flags) {
        log.line(format_args!("cannot lock memory: {error}"));
    }
}

/// From whoever started it, so that neither a terminal nor a pipe ties it.
fn detach(errors: &File) -> anyhow::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(errors))
        .context("cannot detach")
}
