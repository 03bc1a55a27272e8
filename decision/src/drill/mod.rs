//! Drills: failures caused on purpose, on the running system. A drill is in the replicated state, so that all who take
//! part know of it, and so that it ends when whoever began it is gone.

pub mod guard;
pub mod practice;
pub mod report;
pub mod timeline;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{RegionName, ServiceName};
use crate::time::{Time, ms};

use self::report::Report;

/// Ended ones that are kept.
pub const KEPT: usize = 50;
/// A drill whose process was not heard of for so long is over: longer than any profile has no leader for.
pub const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// Whoever runs it says so this often.
pub const RENEWED_EVERY: Duration = Duration::from_secs(1);
/// What is committed is known to whoever asked before its region is cut off.
pub const BEGINS_AFTER: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct DrillId(pub u64);

impl fmt::Display for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drill-{}", self.0)
    }
}

/// What is done to one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Its agents and controllers reach nobody and are reached by nobody, its database is killed, and the other
    /// vantages find its services unreachable.
    RegionLoss,
    /// The same, but for the database: it goes on until its lease is over.
    Partition,
    /// The processes of its database are killed.
    DatabaseCrash,
    /// Its agents stand still (SIGSTOP); databases and DNS servers of others go on.
    AgentFreeze,
    /// None: the service is moved away as planned, and back.
    PlannedMove,
    /// The controllers of all regions reach nobody and are reached by nobody: nobody can decide anything.
    QuorumLoss,
    /// What agents tell the DNS servers of others about the service fails, and the service is moved as planned meanwhile.
    ProviderOutage,
}

impl Fault {
    /// Nobody in the region takes part in the cluster while it lasts.
    pub fn cuts_off(self) -> bool {
        matches!(self, Fault::RegionLoss | Fault::Partition)
    }

    /// The service is moved as planned: no failure makes it move.
    pub fn moves_as_planned(self) -> bool {
        matches!(self, Fault::PlannedMove | Fault::ProviderOutage)
    }

    /// What goes well before it is over shows nothing: it is over when its time is.
    pub fn is_endured(self) -> bool {
        matches!(self, Fault::QuorumLoss | Fault::ProviderOutage)
    }

    /// Nobody can say that it is over while it lasts.
    pub fn is_ended_by_time_alone(self) -> bool {
        matches!(self, Fault::AgentFreeze | Fault::QuorumLoss)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::RegionLoss => "region-loss",
            Fault::Partition => "partition",
            Fault::DatabaseCrash => "database-crash",
            Fault::AgentFreeze => "agent-freeze",
            Fault::PlannedMove => "planned move",
            Fault::QuorumLoss => "controller-quorum-loss",
            Fault::ProviderOutage => "dns-provider-outage",
        })
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wish {
    pub scenario: String,
    /// Whose recovery is measured.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub service: ServiceName,
    /// Where the fault is.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub region: RegionName,
    pub fault: Fault,
    /// At the longest.
    #[serde(with = "ms", rename = "lasts_ms")]
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub lasts: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    pub id: DrillId,
    pub wish: Wish,
    pub by: String,
    pub begun_at: Time,
    /// When its process was last heard of.
    pub renewed_at: Time,
    pub ended: Option<Ended>,
    /// Once its process has told it.
    #[serde(default)]
    pub report: Option<Arc<Report>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ended {
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    pub at: Time,
    pub why: String,
    /// It hurt more than it was meant to.
    #[serde(default)]
    pub by_guard: bool,
}

/// What those who cause a fault are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultGoal {
    pub drill: DrillId,
    /// Whose database is meant, where it is one.
    pub service: ServiceName,
    pub region: RegionName,
    pub fault: Fault,
    /// By the clock of whoever causes it, from when it heard of it: then it heals what it did, whoever says otherwise.
    #[serde(with = "ms", rename = "lasts_ms")]
    pub lasts: Duration,
}

impl Drill {
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether the controllers of this region are cut off by it.
    pub fn cuts_off_controllers(&self, region: &str) -> bool {
        let Wish { fault, region: hit, .. } = &self.wish;
        *fault == Fault::QuorumLoss || (fault.cuts_off() && hit.as_str() == region)
    }

    pub fn fault_goal(&self) -> FaultGoal {
        FaultGoal {
            drill: self.id,
            service: self.wish.service.clone(),
            region: self.wish.region.clone(),
            fault: self.wish.fault,
            lasts: self.wish.lasts,
        }
    }

    /// Why it must end by itself, if it must.
    pub fn overdue(&self, now: Time) -> Option<&'static str> {
        if now.since(self.begun_at) >= self.wish.lasts {
            return Some("its longest duration was over");
        }
        (now.since(self.renewed_at) >= HEARD_WITHIN).then_some("its process was not heard of any more")
    }

    /// When to look again whether it must.
    pub fn due_at(&self) -> Time {
        (self.begun_at + self.wish.lasts).min(self.renewed_at + HEARD_WITHIN)
    }
}
