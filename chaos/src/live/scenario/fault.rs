//! What goes wrong, and how it is put right.

use std::time::Duration;

use serde::Serialize;

use crate::live::cluster::Cluster;
use crate::live::faults::Kind;
use crate::live::options::{Options, REGIONS};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// `kill -9` of the primary's postmaster.
    KillPostgres,
    /// And of its region's agent, at once.
    KillPostgresAndAgent,
    /// The primary's region, with all in it, from everybody else.
    CutOff,
    /// SIGSTOP, and PostgreSQL runs on.
    FreezeAgent,
    /// To the first of the other regions.
    Switchover,
}

impl Fault {
    pub(super) fn begin(self, cluster: &Cluster, region: &'static str) -> anyhow::Result<()> {
        match self {
            Fault::KillPostgres => cluster.kill_postgres(region),
            Fault::KillPostgresAndAgent => {
                cluster.kill(region, Kind::Agent)?;
                cluster.kill_postgres(region)
            }
            Fault::CutOff => cluster.cut_off(region),
            Fault::FreezeAgent => cluster.freeze(region, Kind::Agent),
            Fault::Switchover => {
                let to = REGIONS.into_iter().find(|other| *other != region).unwrap_or(region);
                cluster.switchover(to)
            }
        }
    }

    /// After others have taken over.
    pub(super) fn lasts(self, options: &Options) -> Duration {
        match self {
            Fault::KillPostgres | Fault::Switchover => Duration::from_millis(500),
            // An old primary that does not know would write on for a lease, and then some.
            _ => options.lease_ttl() + Duration::from_secs(1),
        }
    }

    pub(super) fn end(self, cluster: &Cluster, region: &str) -> anyhow::Result<()> {
        match self {
            Fault::KillPostgres | Fault::Switchover => Ok(()),
            Fault::KillPostgresAndAgent => cluster.restart(region),
            Fault::CutOff => cluster.heal(),
            Fault::FreezeAgent => cluster.thaw(region, Kind::Agent),
        }
    }

    pub(super) fn ends_by_itself(self) -> bool {
        matches!(self, Fault::KillPostgres | Fault::Switchover)
    }
}
