//! The step between the guard and PostgreSQL: this program once more, which becomes the user,
//! binds its life to the guard's, and then becomes PostgreSQL.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{User, geteuid, getpid, getppid, initgroups, setgid, setsid, setuid};

use super::log;
use super::protocol::Start;

const OOM: &str = "/proc/self/oom_score_adj";

/// What `regent-guard exec` was told.
#[derive(Debug)]
pub struct Exec {
    /// Whom to become; only root may become another.
    pub user: Option<String>,
    /// For standard output and error; none: those of the caller.
    pub log_file: Option<PathBuf>,
    pub cwd: Option<PathBuf>,
    /// Dies with this process, which must be the one that started it.
    pub parent: Option<i32>,
    /// The guard's own is not for PostgreSQL.
    pub oom_score_adj: Option<String>,
    pub argv: Vec<OsString>,
}

/// Becomes the program.
///
/// # Errors
/// It did not; nothing was started.
pub fn exec(exec: Exec) -> anyhow::Result<std::convert::Infallible> {
    let Exec { user, log_file, cwd, parent, oom_score_adj, argv } = exec;
    let (program, args) = argv.split_first().context("no program was named")?;
    close_inherited().context("cannot close inherited files")?;
    // Refused only to one who leads a group, and so has what this is for.
    let _ = setsid();
    if let Some(value) = oom_score_adj {
        let _ = fs::write(OOM, value);
    }
    if let Some(user) = &user {
        become_user(user)?;
    }
    if let Some(parent) = parent {
        // After the change of user, which would clear it. PostgreSQL's own children do not inherit it.
        prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to die with the guard")?;
        if getppid().as_raw() != parent {
            bail!("the guard died; nothing was started");
        }
    }
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    let mut command = Command::new(program);
    command.args(args);
    if let Some(cwd) = cwd {
        // Here and not by `Command`, whose error would not say which of the two was missing.
        std::env::set_current_dir(&cwd).with_context(|| format!("cannot enter {}", cwd.display()))?;
    }
    if let Some(path) = log_file {
        let file = log::append(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let twin = file.try_clone().context("cannot share the log file")?;
        command.stdout(file).stderr(twin).stdin(Stdio::null());
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

fn become_user(name: &str) -> anyhow::Result<()> {
    let user = User::from_name(name)
        .with_context(|| format!("cannot look up user {name:?}"))?
        .with_context(|| format!("there is no user {name:?} on this machine"))?;
    let own = geteuid();
    if own == user.uid {
        return Ok(());
    }
    if !own.is_root() {
        bail!("only root may start a program as {name:?}; run the agent as root or as {name:?}");
    }
    let c_name = CString::new(name).context("a user's name holds no zero")?;
    initgroups(&c_name, user.gid).context("cannot take the user's groups")?;
    setgid(user.gid).context("cannot take the user's group")?;
    setuid(user.uid).context("cannot become the user")
}

/// Starts PostgreSQL as this process's child; its process number stays what is returned.
pub(super) fn launch(start: &Start, oom_score_adj: Option<&str>) -> io::Result<Child> {
    // The running program itself, also where its file was replaced.
    let mut command = Command::new("/proc/self/exe");
    command.arg("exec").arg("--parent").arg(getpid().to_string());
    if let Some(user) = &start.os_user {
        command.arg("--user").arg(user);
    }
    if let Some(value) = oom_score_adj {
        command.arg(format!("--oom-score-adj={value}"));
    }
    command.arg("--cwd").arg(&start.cwd).arg("--log-file").arg(&start.log_file);
    command.arg("--").args(&start.argv);
    command.env_clear().envs(&start.env);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // Standard error stays the guard's until the log file is open, so that no failure is mute.
    command.spawn()
}

/// The guard's own score before it lowered it; none where it could not be lowered.
pub(super) fn lower_oom_score() -> io::Result<String> {
    let before = fs::read_to_string(OOM)?.trim().to_owned();
    fs::write(OOM, "-1000")?;
    Ok(before)
}

/// All but standard input, output and error. Only at the start, while this program has opened none
/// of its own.
pub(super) fn close_inherited() -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The one that listed the folder is among them, and closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}
