//! What an operator sees, by the operator's command.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::options::{CLIENT, REGIONS};

/// The exit code of the operator's command that says so.
const CHANGES_PENDING: i32 = 2;
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Cluster {
    /// Runs the operator's command beside the client; gives what it printed.
    pub fn failover(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.operator(args)?.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            bail!(
                "failover {}: {}: {} {}",
                args.join(" "),
                output.status,
                text(&output.stderr),
                text(&output.stdout)
            );
        }
        Ok(text(&output.stdout))
    }

    pub fn switchover(&self, to: &str) -> anyhow::Result<()> {
        self.open_plan("switchover", to, &[])
    }

    /// Opens the plan, and does not wait for its end.
    pub(super) fn open_plan(&self, verb: &str, to: &str, more: &[&str]) -> anyhow::Result<()> {
        let args = [&[verb, "app", "--to", to, "--yes", "--no-wait"], more].concat();
        let output = self.operator(&args)?.output()?;
        // It is opened, and goes on.
        ensure!(
            output.status.code() == Some(CHANGES_PENDING),
            "{verb} to {to}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    pub(super) fn operator(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.net.command(CLIENT, &self.programs.failover)?;
        command.arg("--context").arg(&self.context).args(args).stdin(Stdio::null());
        Ok(command)
    }

    /// As `wire::api::Status`.
    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.failover(&["status", "-o", "json"])?)?)
    }

    /// Where the controllers' leader is.
    pub fn leader(&self) -> anyhow::Result<&'static str> {
        leader_of(&self.status()?).context("the controllers have no leader")
    }

    /// Makes the controller of a region lead.
    pub fn lead_from(&self, region: &str) -> anyhow::Result<()> {
        let member = self.layout(region)?.member.to_string();
        self.eventually(&format!("leader in {region}"), Duration::from_secs(30), || {
            if self.leader()? == region {
                return Ok(Some(()));
            }
            // Refused while an election runs, so it is tried again.
            self.failover(&["members", "hand-over", "--to", &member])?;
            Ok(None)
        })
    }

    /// Looks again and again, also after errors, until there is something.
    pub(super) fn eventually<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        let mut last = String::new();
        loop {
            match look() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => last = format!(": {error:#}"),
            }
            if began.elapsed() > within {
                bail!("no {what} within {within:?}{last}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

pub(super) fn leader_of(status: &Value) -> Option<&'static str> {
    let leader = status["leader"].as_u64()?;
    let members = status["members"].as_array()?;
    let region = members.iter().find(|member| member["id"] == leader)?["region"].as_str()?;
    REGIONS.into_iter().find(|known| *known == region)
}
