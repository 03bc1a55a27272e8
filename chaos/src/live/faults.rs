//! What is done to the cluster, and undone.

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cluster::Cluster;
use crate::net::Link;

/// A part that the harness starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Controller,
    Agent,
}

impl Cluster {
    /// `kill -9` of the postmaster alone: its backends end when they notice.
    pub fn kill_postgres(&self, region: &str) -> anyhow::Result<()> {
        let pid = self.postmaster(region)?;
        kill(pid, Signal::SIGKILL).with_context(|| format!("killing PostgreSQL ({pid}) in {region}"))
    }

    pub fn postmaster(&self, region: &str) -> anyhow::Result<Pid> {
        let file = self.layout(region)?.postgres.join("postmaster.pid");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        Ok(Pid::from_raw(pid.with_context(|| format!("{} names no process", file.display()))?))
    }

    /// Everything that runs in a region.
    fn processes(&self, region: &str) -> anyhow::Result<Vec<Pid>> {
        let namespace = self.net.namespace(region)?;
        let output = std::process::Command::new("ip").args(["netns", "pids", namespace]).output()?;
        let pids = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(pids.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
    }

    /// The guard of a region: as `comm`, names are cut at 15 bytes.
    pub fn guards(&self, region: &str) -> anyhow::Result<Vec<Pid>> {
        let is_guard = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "regent-guard")
        };
        Ok(self.processes(region)?.into_iter().filter(is_guard).collect())
    }

    /// As if its machines had lost their power. What the harness started, it can start again.
    pub fn kill_region(&self, region: &str) -> anyhow::Result<()> {
        let mut parts = self.parts(region)?;
        parts.agent.kill()?;
        parts.controller.kill()?;
        parts.service.kill()?;
        // A server that is being started ends with its guard, or is found the next time.
        for _ in 0..2 {
            for pid in self.processes(region)? {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        Ok(())
    }

    /// The server's processes, all of them; its guard runs on.
    pub fn freeze_postgres(&self, region: &str) -> anyhow::Result<()> {
        let postmaster = self.postmaster(region)?;
        let is_its = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
        };
        kill(postmaster, Signal::SIGSTOP).with_context(|| format!("SIGSTOP to PostgreSQL in {region}"))?;
        for pid in self.processes(region)?.into_iter().filter(is_its) {
            let _ = kill(pid, Signal::SIGSTOP);
        }
        Ok(())
    }

    pub fn thaw_region(&self, region: &str) -> anyhow::Result<()> {
        for pid in self.processes(region)? {
            let _ = kill(pid, Signal::SIGCONT);
        }
        Ok(())
    }

    pub fn kill_guard(&self, region: &str) -> anyhow::Result<()> {
        for pid in self.guards(region)? {
            // The second of the two may end with the first.
            let _ = kill(pid, Signal::SIGKILL);
        }
        Ok(())
    }

    pub fn kill(&self, region: &str, kind: Kind) -> anyhow::Result<()> {
        let mut parts = self.parts(region)?;
        match kind {
            Kind::Controller => parts.controller.kill(),
            Kind::Agent => parts.agent.kill(),
        }
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn freeze(&self, region: &str, kind: Kind) -> anyhow::Result<()> {
        self.signal(region, kind, Signal::SIGSTOP)
    }

    pub fn thaw(&self, region: &str, kind: Kind) -> anyhow::Result<()> {
        self.signal(region, kind, Signal::SIGCONT)
    }

    fn signal(&self, region: &str, kind: Kind, signal: Signal) -> anyhow::Result<()> {
        let parts = self.parts(region)?;
        match kind {
            Kind::Controller => parts.controller.signal(signal),
            Kind::Agent => parts.agent.signal(signal),
        }
    }

    /// Whatever does not run, as a service manager would.
    pub fn restart(&self, region: &str) -> anyhow::Result<()> {
        let mut parts = self.parts(region)?;
        parts.service.start(&self.net)?;
        parts.controller.start(&self.net)?;
        parts.agent.start(&self.net)
    }

    /// Off from all others, the client too.
    pub fn cut_off(&self, region: &str) -> anyhow::Result<()> {
        Ok(self.net.isolate(region)?)
    }

    pub fn heal(&self) -> anyhow::Result<()> {
        Ok(self.net.heal()?)
    }

    pub fn change_links(&self, change: impl FnMut(&str, &str, &mut Link)) -> anyhow::Result<()> {
        Ok(self.net.change(change)?)
    }

    /// All as they were in the beginning.
    pub fn mend_links(&self) -> anyhow::Result<()> {
        let link = self.options.link();
        self.change_links(|_, _, own| *own = link)
    }
}
