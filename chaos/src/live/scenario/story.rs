//! What goes on while somebody is killed at a failpoint, and which points it comes to.

use anyhow::Context;
use serde::Serialize;
use wire::failpoint::ENTRIES;

use crate::live::cluster::Cluster;
use crate::live::options::REGIONS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Story {
    /// A cluster begins, with its first primary.
    Begins,
    Switchover,
    /// `kill -9` of the primary's postmaster.
    ServerDies,
    /// The same where nobody else may take over.
    ComesBack,
    /// Who writes is ended at once.
    Forced,
    /// A replica, by an operator's wish.
    CopiedAnew,
}

impl Story {
    pub const ALL: [Story; 6] = [
        Story::Begins,
        Story::Switchover,
        Story::ServerDies,
        Story::ComesBack,
        Story::Forced,
        Story::CopiedAnew,
    ];

    /// Those that it surely comes to.
    pub fn points(self) -> Vec<String> {
        let both = |deed: &&str| ["before", "after"].map(|moment| format!("{moment}-{deed}"));
        self.deeds().iter().flat_map(both).collect()
    }

    fn deeds(self) -> Vec<&'static str> {
        let mut deeds = match self {
            Story::Begins => vec!["create", "start-primary", "clone", "swap-folders"],
            Story::Switchover => vec![
                "shut-down",
                "release",
                "tell-release",
                "promote",
                "take-writes",
                "tell-primary",
                "follow",
                "rewind",
                "start-replica",
                "shift-dns",
                "verify-dns",
                "verify-write",
                "verify-service",
                "tell-step",
                "guard-start",
                "guard-lease",
                "guard-stop",
            ],
            Story::ServerDies => vec![
                "release",
                "tell-release",
                "promote",
                "take-writes",
                "tell-primary",
                "follow",
                "rewind",
                "pg-rewind",
                "start-replica",
                "guard-start",
                "guard-lease",
                "guard-kill",
            ],
            Story::ComesBack => vec![
                "lease-ended",
                "plan-opened",
                "fence-done",
                "promote-begun",
                "promote-done",
                "plan-ended",
                "release",
                "follow",
                "start-primary",
                "guard-start",
                "tell-primary",
                "verify-write",
            ],
            Story::Forced => vec![
                "fence-begun",
                "lease-ended",
                "fence-done",
                "promote-begun",
                "promote-done",
                "kill",
                "guard-kill",
                "release",
                "tell-release",
                "take-writes",
            ],
            Story::CopiedAnew => vec!["stop", "guard-stop", "clone", "swap-folders", "start-replica"],
        };
        match self {
            Story::Switchover => deeds.extend(ENTRIES),
            // Who wrote has ended: the fence is done as it begins.
            Story::ServerDies => deeds.extend(ENTRIES.iter().filter(|entry| **entry != "fence-begun")),
            _ => {}
        }
        deeds
    }

    pub(super) fn begin(self, cluster: &Cluster, primary: &'static str) -> anyhow::Result<()> {
        let mut others = REGIONS.into_iter().filter(|region| *region != primary);
        let other = others.next().context("there are three regions")?;
        match self {
            Story::Begins => Ok(()),
            Story::Switchover => cluster.switchover(other),
            Story::ServerDies | Story::ComesBack => cluster.kill_postgres(primary),
            Story::Forced => cluster.open_plan("failover", other, &["--allow-data-loss"]),
            Story::CopiedAnew => cluster.failover(&["reinit", "app", "--region", other, "--yes"]).map(drop),
        }
    }

    /// What is done in the end, whoever was killed: all may look well before it is begun.
    pub(super) fn end(self) -> Option<&'static str> {
        (self == Story::CopiedAnew).then_some("after-clone")
    }

    /// Before anybody is to be killed.
    pub(super) fn prepare(self, cluster: &Cluster, primary: &str) -> anyhow::Result<()> {
        self.on_others(cluster, primary, &["drain"])
    }

    pub(super) fn tidy(self, cluster: &Cluster, primary: &str) -> anyhow::Result<()> {
        self.on_others(cluster, primary, &["undrain"])
    }

    fn on_others(self, cluster: &Cluster, primary: &str, verb: &[&str]) -> anyhow::Result<()> {
        if self != Story::ComesBack {
            return Ok(());
        }
        let mut others = REGIONS.into_iter().filter(|region| *region != primary);
        others.try_for_each(|region| cluster.failover(&[verb, &[region, "--yes"]].concat()).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_is_crossed_by_a_story() {
        let crossed: BTreeSet<String> = Story::ALL.into_iter().flat_map(Story::points).collect();
        assert_eq!(crossed, wire::failpoint::all().collect());
    }
}
