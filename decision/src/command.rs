//! What may be asked of the replicated state, and what it answers. A command is an entry of the
//! Raft log; new variants and new optional fields may be added, none may change its meaning.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::database::{InstanceReport, Position};
use crate::drill::{self, DrillId};
use crate::evidence::Finding;
use crate::explain::Explanation;
use crate::name::{AgentId, RegionName, ServiceName};
use crate::plan::{Epoch, Plan, PlanId, PlanStatus, StepId, StepResult};
use crate::time::Time;
use crate::verdict::Assessment;

/// A command with the leader's time and who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    pub at: Time,
    /// As its certificate names it, such as `agent/eu-west-1/1`.
    pub by: String,
    pub command: Command,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Applied in order, in one log entry; each is answered for itself.
    Batch {
        commands: Vec<Command>,
    },
    /// Replaces the configuration of the generation named; 0 before the first.
    SetConfig {
        parent_generation: u64,
        config: Box<Config>,
    },
    OpenSession {
        agent: AgentId,
        info: AgentInfo,
    },
    LoseSession {
        agent: AgentId,
    },
    Evidence {
        vantage: AgentId,
        findings: Vec<Finding>,
    },
    SetVerdict {
        region: RegionName,
        service: Option<ServiceName>,
        assessment: Assessment,
    },
    /// The leader looked and did not act; told once for each new conclusion.
    Hold {
        explanation: Explanation,
    },
    OpenPlan {
        plan: Plan,
        explanation: Option<Explanation>,
    },
    Approve {
        plan: PlanId,
    },
    Cancel {
        plan: PlanId,
        why: String,
    },
    StartStep {
        plan: PlanId,
        step: StepId,
        attempt: u32,
    },
    StepDone {
        plan: PlanId,
        step: StepId,
        attempt: u32,
        epoch: Epoch,
        result: StepResult,
    },
    EndPlan {
        plan: PlanId,
        status: PlanStatus,
    },
    /// An agent tells of the instance of its own region.
    ReportInstance {
        agent: AgentId,
        service: ServiceName,
        report: InstanceReport,
    },
    /// Its agent says that the instance has ended, so that nobody need wait for the lease.
    ReleaseLease {
        agent: AgentId,
        service: ServiceName,
        epoch: Epoch,
        /// What it acknowledged at most, when it was shut down in order.
        clean: Option<Position>,
        last_known: Option<Position>,
        /// It never took a write under this lease.
        #[serde(default)]
        unwritten: bool,
        why: String,
    },
    /// The leader last heard of the holder at `heard`, and the lease has surely expired since.
    ExpireLease {
        service: ServiceName,
        epoch: Epoch,
        heard: Time,
        position: Option<Position>,
        /// When it told the position; none: at `heard`.
        #[serde(default)]
        told_at: Option<Time>,
    },
    /// S3: the holder asks to acknowledge alone, because too few replicas follow it.
    GoAlone {
        service: ServiceName,
        epoch: Epoch,
        /// That of its asking.
        number: u64,
    },
    /// S3: whatever it acknowledged is with enough of the others, and will be: ends a leave of this number, or that
    /// a change of whom commits wait for is not settled.
    EndAlone {
        service: ServiceName,
        epoch: Epoch,
        number: u64,
    },
    /// The instance there is to be copied anew from whoever writes.
    Reinit {
        service: ServiceName,
        region: RegionName,
        /// Higher than that of every wish before, so that one told twice is carried out once.
        number: u64,
    },
    Pause {
        why: String,
    },
    Resume,
    Drain {
        region: RegionName,
        why: String,
    },
    Undrain {
        region: RegionName,
    },
    /// A failure on purpose; refused where anything else is wrong already.
    BeginDrill {
        /// What it is to be called: one that comes late, or twice, begins nothing.
        drill: DrillId,
        wish: drill::Wish,
    },
    /// Whoever runs it is still there.
    RenewDrill {
        drill: DrillId,
    },
    EndDrill {
        drill: DrillId,
        why: String,
        /// It hurt more than it was meant to.
        #[serde(default)]
        by_guard: bool,
    },
    ReportDrill {
        drill: DrillId,
        report: Box<drill::report::Report>,
    },
    /// Something stale was refused where it was about to act; the journal must know.
    ReportRefusal {
        what: String,
        why: String,
    },
    Note {
        text: String,
    },
}

/// What an agent says of itself when its session opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// `host:port` of its authoritative DNS server, when it runs one.
    pub dns: Option<String>,
    pub version: String,
    /// `host:port` where other agents reach it.
    #[serde(default)]
    pub peer: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// The journal's last entry once it was applied.
    Applied {
        seq: u64,
    },
    /// It was so already.
    Unchanged,
    Refused {
        refusal: Refusal,
    },
    Batch {
        outcomes: Vec<Outcome>,
    },
}

/// Why the state refused a command. Nothing was changed, save that the journal says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    #[error("no configuration has been set yet; set one with `failover config apply`")]
    NotConfigured,
    #[error(
        "configuration generation {given} is not the newest, which is {newest}: read it again and redo the change"
    )]
    StaleConfig { given: u64, newest: u64 },
    #[error("epoch {given} is stale, {service} is at epoch {current}")]
    StaleEpoch { service: ServiceName, given: Epoch, current: Epoch },
    #[error("the plan was made for another state: {detail}")]
    StaleParent { detail: String },
    #[error("{service} has {open} open already")]
    PlanOpen { service: ServiceName, open: PlanId },
    #[error("there is no {what}")]
    Unknown { what: String },
    #[error("{detail}")]
    NotAllowed { detail: String },
    #[error("automation is paused: {why}")]
    Paused { why: String },
    /// Said by the leader, before it is in the log.
    #[error("the configuration contradicts itself: {detail}")]
    Contradictory { detail: String },
    #[error("{what} is {actual} long, at most {limit} is kept")]
    TooLong { what: String, actual: usize, limit: usize },
}

impl Outcome {
    /// The first refusal in it, if any.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Outcome::Refused { refusal } => Some(refusal),
            Outcome::Batch { outcomes } => outcomes.iter().find_map(Outcome::refusal),
            Outcome::Applied { .. } | Outcome::Unchanged => None,
        }
    }
}
