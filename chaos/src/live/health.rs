//! Whether all is well: asked of the controllers and of every server.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::cluster::Cluster;
use super::options::REGIONS;
use super::status::leader_of;

const HEALTHY_WITHIN: Duration = Duration::from_secs(120);
/// As many may be on their way.
const ENTRIES_BEHIND: u64 = 64;

impl Cluster {
    /// The one server that takes writes.
    pub fn primary(&self) -> anyhow::Result<&'static str> {
        let mut found = REGIONS.into_iter().filter(|region| self.is_primary(region).unwrap_or(false));
        let first = found.next().context("no server takes writes")?;
        if let Some(second) = found.next() {
            bail!("both {first} and {second} take writes");
        }
        Ok(first)
    }

    pub(super) fn first_health(&self) -> anyhow::Result<()> {
        self.wait_healthy()?;
        self.eventually("a table", HEALTHY_WITHIN, || self.make_table(self.primary()?).map(Some))?;
        self.wait_healthy().map(drop)
    }

    /// One primary, which the controllers know; both others stream from it; every region healthy, no plan
    /// under way. Gives the primary.
    pub fn wait_healthy(&self) -> anyhow::Result<&'static str> {
        self.eventually("health everywhere", HEALTHY_WITHIN, || self.health().map(Some))
    }

    fn health(&self) -> anyhow::Result<&'static str> {
        let primary = self.primary()?;
        let streaming = self.streaming_from(primary)?;
        let status = self.status()?;
        for other in REGIONS.into_iter().filter(|region| *region != primary) {
            ensure!(
                streaming.contains(other),
                "{other} does not stream from {primary}; {}",
                instance(&status, other)
            );
        }
        leader_of(&status).context("the controllers have no leader")?;
        all_keep_up(list(&status["members"]))?;
        for region in list(&status["regions"]) {
            ensure!(region["verdict"] == "healthy", "{} is {}", region["name"], region["verdict"]);
            for agent in list(&region["agents"]) {
                ensure!(agent["live"] == true, "agent {} is away", agent["agent"]);
            }
        }
        ensure!(list(&status["open_plans"]).is_empty(), "plans are open: {}", status["open_plans"]);
        let service = list(&status["services"]).first().context("no service")?;
        ensure!(service["primary"] == primary, "the controllers have {} as primary", service["primary"]);
        ensure!(service["verdict"] == "healthy", "the service is {}", service["verdict"]);
        Ok(primary)
    }
}

/// What its agent says of it.
fn instance(status: &Value, region: &str) -> String {
    let services = list(&status["services"]).iter();
    let mut instances = services.flat_map(|service| list(&service["database"]["instances"]));
    instances.find(|instance| instance["region"] == region).map_or_else(
        || "nobody tells".into(),
        |instance| {
            format!(
                "it is {}, live: {}, problem: {}",
                instance["role"], instance["live"], instance["problem"]
            )
        },
    )
}

/// One that runs and writes nothing down is as good as dead.
fn all_keep_up(members: &[Value]) -> anyhow::Result<()> {
    let matched = |member: &Value| member["matched"].as_u64().unwrap_or_default();
    let newest = members.iter().map(matched).max().unwrap_or_default();
    match members.iter().find(|member| matched(member) + ENTRIES_BEHIND < newest) {
        Some(behind) => {
            bail!("the controller in {} has {} of {newest} entries", behind["region"], matched(behind))
        }
        None => Ok(()),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
