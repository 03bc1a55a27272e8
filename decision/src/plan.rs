//! A plan: an immutable, ordered list of steps that moves a service, and the record of how far
//! it has come. A plan leaves no choice to whoever carries it out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::DnsProvider;
use crate::database::Loss;
use crate::dns::RecordSet;
use crate::name::{CheckId, DnsName, RegionName, ServiceName};
use crate::time::{Time, ms};

/// The fencing token of a service: rises with every plan that may change its primary (S2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(pub u64);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan-{}", self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u16);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Forced by a failure.
    Failover,
    /// Wished by a person, or by a drain.
    Switchover,
    /// The way home.
    Failback,
    /// A region that is not the primary leaves the weighted records.
    Withdraw,
    /// It comes back into them.
    Restore,
    /// Nothing moves: DNS servers of others are made to say where the service is.
    Publish,
    /// The database gets a primary again where it was, or its first one.
    Recover,
}

impl Kind {
    /// Whether it may change the primary, or who writes; else it changes the weighted records only.
    pub fn moves_primary(self) -> bool {
        matches!(self, Kind::Failover | Kind::Switchover | Kind::Failback | Kind::Recover)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Failover => "failover",
            Kind::Switchover => "switchover",
            Kind::Failback => "failback",
            Kind::Withdraw => "withdraw",
            Kind::Restore => "restore",
            Kind::Publish => "publish",
            Kind::Recover => "recover",
        })
    }
}

/// The state a plan was made for. `State::apply` refuses the plan when it no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub epoch: Epoch,
    pub config_generation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub id: PlanId,
    pub kind: Kind,
    pub service: ServiceName,
    pub from: RegionName,
    pub to: RegionName,
    pub parent: Parent,
    pub epoch: Epoch,
    /// Decided without a person; counts against the limits on moves.
    pub automatic: bool,
    pub needs_approval: bool,
    pub reason: String,
    pub steps: Vec<Step>,
    /// Of the database, if it is promoted; none where nothing may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// A person has seen the loss and wants it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepts_loss: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    pub action: Action,
    pub executor: Executor,
    /// Steps that must be done, or skipped, before.
    pub after: Vec<StepId>,
    #[serde(with = "ms", rename = "timeout_ms")]
    pub timeout: Duration,
    pub attempts: u32,
    pub on_failure: OnFailure,
    /// Once begun, the plan can no longer be cancelled.
    pub point_of_no_return: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// The instance in this region writes no more: it hands its lease back, or the lease surely
    /// expires. Lossless: it is shut down in order once the target has everything.
    Fence { region: RegionName, lossless: bool },
    /// The instance in this region is granted the lease, and takes writes.
    Promote { region: RegionName },
    /// Replace these record sets. In the embedded zone the step's result is already the zone.
    ShiftDns { zone: DnsName, provider: DnsProvider, set: Vec<RecordSet> },
    /// Let a stage of a gradual shift settle.
    Settle {
        #[serde(with = "ms", rename = "pause_ms")]
        pause: Duration,
    },
    /// Ask every authoritative server (`host:port`) for these record sets.
    VerifyDns { zone: DnsName, servers: Vec<String>, set: Vec<RecordSet> },
    /// Probe the service in its new region, from outside of it where that is possible.
    VerifyService { checks: Vec<CheckId> },
    /// Commit a write in the new primary, as a client from outside would.
    VerifyWrite { region: RegionName },
}

impl Action {
    /// The zone, where it tells DNS servers of others.
    pub fn zone_of_others(&self) -> Option<&DnsName> {
        match self {
            Action::ShiftDns { zone, provider, .. } if *provider != DnsProvider::Embedded => Some(zone),
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Fence { region, lossless: true } => write!(f, "end writes in {region} without loss"),
            Action::Fence { region, lossless: false } => write!(f, "fence the database in {region}"),
            Action::Promote { region } => write!(f, "promote the database in {region}"),
            Action::ShiftDns { zone, set, .. } => {
                write!(f, "shift DNS in {zone}: ")?;
                for (n, record) in set.iter().enumerate() {
                    if n > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{} {:?}", record.name, record.rtype)?;
                    for group in record.groups.iter().filter(|group| group.weight > 0) {
                        write!(f, " {} ({})", group.values.join(" "), group.region)?;
                        if record.groups.len() > 1 {
                            write!(f, " weight {}", group.weight)?;
                        }
                    }
                }
                Ok(())
            }
            Action::Settle { pause } => {
                write!(f, "wait {} for traffic to settle", crate::time::Human(*pause))
            }
            Action::VerifyDns { zone, servers, .. } => {
                write!(f, "verify {zone} at {} authoritative servers", servers.len())
            }
            Action::VerifyService { checks } => write!(f, "verify the service by {} checks", checks.len()),
            Action::VerifyWrite { region } => write!(f, "verify the database in {region} by a write"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// Done by the log entry itself.
    Controllers,
    /// An agent of this region.
    Agent(RegionName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Hand over to a person.
    Stop,
    /// Go on, with a loud mark.
    Skip,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    pub plan: Plan,
    pub status: PlanStatus,
    pub steps: BTreeMap<StepId, StepRecord>,
    pub opened_at: Time,
    /// When it began to run: at once, or when a person approved it.
    #[serde(default)]
    pub running_since: Option<Time>,
    pub ended_at: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    AwaitingApproval,
    Running,
    Done,
    /// A person must look; the reason says at what.
    Stopped(String),
    Cancelled(String),
}

impl PlanStatus {
    pub fn is_open(&self) -> bool {
        matches!(self, PlanStatus::AwaitingApproval | PlanStatus::Running)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub status: StepStatus,
    /// 1 for the first.
    pub attempt: u32,
    /// When the attempt began.
    pub started_at: Time,
    pub ended_at: Option<Time>,
    /// What the actuator said last.
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Running,
    Done,
    Failed,
    Skipped,
}

/// What an actuator says of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum StepResult {
    Done {
        note: String,
    },
    /// Worth another attempt.
    Failed {
        why: String,
    },
    /// Another attempt cannot help: a safety rule refused, or a person is needed.
    Refused {
        why: String,
    },
}

impl PlanRecord {
    pub fn is_open(&self) -> bool {
        self.status.is_open()
    }

    /// Whether a step may be begun: all that it waits for is over.
    pub fn is_ready(&self, step: &Step) -> bool {
        step.after.iter().all(|before| {
            self.steps
                .get(before)
                .is_some_and(|record| matches!(record.status, StepStatus::Done | StepStatus::Skipped))
        })
    }

    /// Whether it went past its point of no return.
    pub fn is_committed(&self) -> bool {
        self.plan.steps.iter().any(|step| step.point_of_no_return && self.steps.contains_key(&step.id))
    }

    /// Whether its move took effect.
    pub fn has_moved(&self) -> bool {
        self.plan.steps.iter().any(|step| {
            let done = |record: &StepRecord| record.status == StepStatus::Done;
            step.point_of_no_return && self.steps.get(&step.id).is_some_and(done)
        })
    }

    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.plan.steps.iter().find(|step| step.id == id)
    }
}
