//! What operators may ask of controllers, and the documents they get: the same over gRPC and HTTP.

mod database;

pub use database::{Connect, DatabaseStatus, InstanceStatus, LeaseStatus, Leases, Relay, VacancyStatus};

use decision::command::{Outcome, Refusal};
use decision::config::Config;
use decision::drill::{self, DrillId};
use decision::explain::{Explanation, Rejected};
use decision::name::{AgentId, RegionName, ServiceName};
use decision::plan::{Epoch, Plan, PlanId};
use decision::time::Time;
use decision::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// A question. Its answer is the document named beside it, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "query")]
pub enum Query {
    /// [`Status`]
    Status,
    /// `Vec<decision::plan::PlanRecord>`, newest first.
    Plans,
    /// `decision::plan::PlanRecord`
    Plan { id: PlanId },
    /// [`decision::decide::WhatIf`]; only the leader can tell.
    IfLost { region: RegionName },
    /// [`decision::explain::Explanation`]; only the leader can tell.
    Explain { service: ServiceName },
    /// [`JournalPage`]
    Journal { after: u64, limit: u32 },
    /// [`ConfigDocument`]
    Config,
    /// `Vec<decision::incident::Incident>`, newest first.
    Incidents,
    /// [`Leases`]; only the leader can tell.
    Leases,
    /// `Vec<decision::drill::Drill>`, newest first.
    Drills,
}

/// A wish. Answered by an [`IntentReply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "intent")]
pub enum Intent {
    SetConfig {
        parent_generation: u64,
        config: Box<Config>,
    },
    Switchover {
        service: ServiceName,
        to: Option<RegionName>,
        reason: String,
        /// Make the plan and show it, but do not open it.
        dry_run: bool,
    },
    Failback {
        service: ServiceName,
        reason: String,
        dry_run: bool,
    },
    /// Forced: whoever writes is ended at once.
    Failover {
        service: ServiceName,
        to: Option<RegionName>,
        /// What the target lacks may be lost.
        allow_data_loss: bool,
        reason: String,
        dry_run: bool,
    },
    /// Copy a replica of a service's database anew.
    Reinit {
        service: ServiceName,
        region: RegionName,
    },
    Approve {
        plan: PlanId,
    },
    Cancel {
        plan: PlanId,
        why: String,
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
    Note {
        text: String,
    },
    /// Adds a member that learns the log, then makes it a voter.
    AddMember {
        member: u64,
        region: RegionName,
        grpc: String,
        witness: bool,
    },
    RemoveMember {
        member: u64,
    },
    /// A failure on purpose. The outcome is told once it is committed; the fault comes a moment later.
    BeginDrill {
        /// The one after the last: a wish that comes late, or twice, begins nothing.
        drill: DrillId,
        wish: drill::Wish,
        /// Say what is in the way, and begin nothing.
        dry_run: bool,
    },
    /// Whoever runs it is still there; without this it ends.
    RenewDrill {
        drill: DrillId,
    },
    EndDrill {
        drill: DrillId,
        why: String,
    },
    ReportDrill {
        drill: DrillId,
        report: Box<drill::report::Report>,
    },
    /// Hands leadership to another member.
    TransferLeadership {
        to: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum IntentReply {
    Done {
        outcome: Outcome,
        /// The plan that was opened, or would be.
        plan: Option<Box<Plan>>,
        /// Of a plan that would be opened: why it leads to no other region.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejected>,
    },
    Refused {
        refusal: Refusal,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub cluster: String,
    pub leader: Option<u64>,
    pub term: u64,
    pub index: u64,
    /// The newest time in the log that it shows.
    pub as_of: Time,
    pub config_generation: u64,
    pub paused: Option<String>,
    pub members: Vec<MemberStatus>,
    pub regions: Vec<RegionStatus>,
    pub services: Vec<ServiceStatus>,
    pub open_plans: Vec<PlanId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    pub id: u64,
    pub region: RegionName,
    pub grpc: String,
    pub voter: bool,
    pub witness: bool,
    /// The newest log index the leader knows it to hold; none unless the leader answers.
    pub matched: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionStatus {
    pub name: RegionName,
    pub verdict: Verdict,
    pub since: Time,
    pub because: String,
    pub capacity_percent: u8,
    pub witness: bool,
    pub drained: Option<String>,
    pub agents: Vec<AgentStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    pub agent: AgentId,
    pub live: bool,
    pub since: Time,
    /// How many of its checks it has told the outcome of.
    pub reported: usize,
    pub dns: Option<String>,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: ServiceName,
    pub primary: RegionName,
    /// Its verdict in its primary region.
    pub verdict: Verdict,
    pub because: String,
    pub epoch: Epoch,
    pub since: Time,
    /// Why it is not moved though it is not healthy.
    pub held: Option<String>,
    /// How it is wherever it is hosted, in the order of preference.
    pub hosts: Vec<HostStatus>,
    pub names: Vec<NameStatus>,
    #[serde(default)]
    pub database: Option<DatabaseStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    pub region: RegionName,
    pub verdict: Verdict,
    pub since: Time,
    pub because: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameStatus {
    pub name: String,
    pub rtype: String,
    pub ttl_s: u32,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    pub entries: Vec<decision::journal::Entry>,
    pub last_seq: u64,
    /// Whether the chain of all that is kept verifies.
    pub intact: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDocument {
    pub generation: u64,
    pub config: Option<Config>,
}

/// What one controller forwards to the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "forwarded")]
pub enum Forwarded {
    /// From an agent's stream.
    Command {
        command: Box<decision::command::Command>,
    },
    Intent {
        intent: Intent,
    },
    /// A question that only the leader can answer.
    Query {
        query: Query,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum ForwardAnswer {
    Outcome { outcome: Outcome },
    Intent { reply: IntentReply },
    IfLost { what_if: Box<decision::decide::WhatIf> },
    Explanation { explanation: Explanation },
    Refused { refusal: Refusal },
    Leases { leases: Leases },
}
