//! One process of the cluster that the harness itself starts: a controller, an agent, a service.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wall_clock;
use crate::net::Net;

const BECOMES_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Part {
    pub name: String,
    region: &'static str,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    /// Of its environment, besides what the harness itself has.
    env: Vec<(&'static str, OsString)>,
    child: Option<Child>,
}

impl Part {
    pub fn new(
        name: String,
        region: &'static str,
        program: &Path,
        args: Vec<String>,
        log: PathBuf,
        env: Vec<(&'static str, OsString)>,
    ) -> Part {
        Part { name, region, program: program.to_owned(), args, log, env, child: None }
    }

    /// Nothing if it runs.
    pub fn start(&mut self, net: &Net) -> anyhow::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        // What is left of one that ended by itself.
        self.kill()?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command: Command = net.command(self.region, &self.program)?;
        command.args(&self.args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // Ctrl-C is for the harness, which then ends it.
        command.process_group(0);
        self.child = Some(command.spawn().with_context(|| self.name.clone())?);
        self.wait_until_become()
    }

    /// Until then it is `ip`, and a signal would not meet what was asked for.
    fn wait_until_become(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let wanted = self.program.canonicalize()?;
        while self.is_running() && began.elapsed() < BECOMES_WITHIN {
            let pid = self.pid()?;
            if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == wanted) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        anyhow::bail!("{} did not start; see {}", self.name, self.log.display())
    }

    pub fn pid(&self) -> anyhow::Result<Pid> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        Ok(Pid::from_raw(child.id() as i32))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How it ended, if it was started and runs no more.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// `kill -9`, and until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
            wall_clock::forget(Pid::from_raw(child.id() as i32));
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.kill();
    }
}
