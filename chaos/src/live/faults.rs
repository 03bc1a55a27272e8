//! What is done to the cluster, and undone.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::cluster::{Cluster, part_name};
use super::layout::{AGENT_HTTP_PORT, HTTP_PORT};
use super::small_disk::SmallDisk;
use super::strace::{Refused, Sync, Tampered};
use crate::net::Link;

const DATE_WITHIN: Duration = Duration::from_millis(500);
const ANSWER_MAX_BYTES: u64 = 65_536;

/// A part that the harness starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Controller,
    Agent,
}

/// Whose writes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Postgres,
    Of(Kind),
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

    /// The processes of a region's server; none: it is away.
    fn postgres_processes(&self, region: &str) -> anyhow::Result<Vec<Pid>> {
        let is_its = |pid: &Pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
        };
        Ok(self.processes(region)?.into_iter().filter(is_its).collect())
    }

    /// The server's processes, all of them; its guard runs on.
    pub fn freeze_postgres(&self, region: &str) -> anyhow::Result<()> {
        let postmaster = self.postmaster(region)?;
        kill(postmaster, Signal::SIGSTOP).with_context(|| format!("SIGSTOP to PostgreSQL in {region}"))?;
        for pid in self.postgres_processes(region)? {
            let _ = kill(pid, Signal::SIGSTOP);
        }
        Ok(())
    }

    /// The disk of a region, as one of those who write to it meets it.
    pub(super) fn tamper(
        &self,
        region: &str,
        of: Disk,
        sync: Sync,
    ) -> anyhow::Result<Result<Tampered, Refused>> {
        static TRACES: AtomicU64 = AtomicU64::new(0);
        let n = TRACES.fetch_add(1, Ordering::Relaxed);
        let trace = self.layout.log(&format!("{region}-syncs-{n}"));
        let pids = match of {
            Disk::Postgres => self.postgres_processes(region)?,
            Disk::Of(kind) => self.pid(region, kind)?.into_iter().collect(),
        };
        Tampered::begin(&pids, sync, &trace)
    }

    /// Gives how many bytes that took; none: the database has no disk for itself.
    pub fn fill_disk(&self, region: &str) -> anyhow::Result<Option<u64>> {
        let Some(disk) = self.disks.get(region) else { return Ok(None) };
        // The first time makes a folder for it, which could not be made then. It may be away.
        drop(self.has_no_space(region));
        disk.fill().map(Some)
    }

    pub fn free_disk(&self, region: &str) -> anyhow::Result<()> {
        self.disks.get(region).map_or(Ok(()), SmallDisk::free)
    }

    /// That a server is refused room. An error: it was not, or is away.
    pub fn has_no_space(&self, region: &str) -> anyhow::Result<()> {
        // More than it keeps in memory.
        match self.ask(region, "select count(*) from generate_series(1, 2000000)") {
            Ok(_) => anyhow::bail!("it still finds room"),
            Err(error) if format!("{error:#}").contains("No space left on device") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Of a region's controller and agent: so many seconds off from now on. Gives which of the two looked at it
    /// since; none: clocks cannot be set here.
    pub fn set_clocks(&self, region: &str, offset_s: i64) -> anyhow::Result<Option<Vec<Kind>>> {
        let Some(clocks) = &self.clocks else { return Ok(None) };
        let mut saw = Vec::new();
        for (kind, port) in [(Kind::Controller, HTTP_PORT), (Kind::Agent, AGENT_HTTP_PORT)] {
            // An answer says when it was given.
            let provoke = || drop(self.date(region, port));
            if clocks.set_and_see(&part_name(region, kind), offset_s, provoke)? {
                saw.push(kind);
            }
        }
        Ok(Some(saw))
    }

    /// What time it is for the controller or agent of a region, as it tells those who ask.
    pub fn clock_of(&self, region: &str, kind: Kind) -> anyhow::Result<String> {
        let port = match kind {
            Kind::Controller => HTTP_PORT,
            Kind::Agent => AGENT_HTTP_PORT,
        };
        self.date(region, port)
    }

    fn date(&self, region: &str, port: u16) -> anyhow::Result<String> {
        let address = self.layout(region)?.at(port);
        let answer = self.net.enter(region, || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, DATE_WITHIN)?;
            stream.set_read_timeout(Some(DATE_WITHIN))?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: live\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.take(ANSWER_MAX_BYTES).read_to_string(&mut answer)?;
            Ok(answer)
        })??;
        let date = answer.lines().find_map(|line| line.strip_prefix("date: "));
        Ok(date.with_context(|| format!("{address} does not tell the time: {answer}"))?.to_owned())
    }

    /// None: it does not run.
    pub(super) fn pid(&self, region: &str, kind: Kind) -> anyhow::Result<Option<Pid>> {
        let mut parts = self.parts(region)?;
        let part = match kind {
            Kind::Controller => &mut parts.controller,
            Kind::Agent => &mut parts.agent,
        };
        part.is_running().then(|| part.pid()).transpose()
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
