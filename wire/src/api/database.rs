//! Who writes to a service's database, how its copies are, and where clients reach it.

use decision::config::{MaxDataLoss, Mode};
use decision::database::guard::Guard;
use decision::database::{InstanceRole, Proof};
use decision::lsn::Lsn;
use decision::name::{RegionName, ServiceName};
use decision::plan::Epoch;
use decision::time::Time;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    pub mode: Mode,
    pub max_data_loss: MaxDataLoss,
    /// Of the last grant.
    pub epoch: Epoch,
    /// Who may take writes.
    pub writer: Option<RegionName>,
    /// Why nobody may.
    pub vacancy: Option<VacancyStatus>,
    /// Since when it acknowledges without the replicas that its mode asks for, by agreement; none: it does not.
    #[serde(default)]
    pub alone_since: Option<Time>,
    /// When it was granted, or became vacant.
    pub since: Time,
    /// PostgreSQL's system identifier; none before the first primary.
    pub system: Option<String>,
    /// As the leader counts it; none while nobody holds it, and where the leader could not be asked.
    pub lease: Option<LeaseStatus>,
    /// In the order of preference.
    pub instances: Vec<InstanceStatus>,
    pub connect: Connect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VacancyStatus {
    /// Who held it last.
    pub last: Option<RegionName>,
    pub why: String,
    /// How it is known that nobody writes.
    pub proof: Proof,
}

/// By the leader's time. The holder itself counts from when it sent the renewal, so that for it
/// less is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    pub epoch: Epoch,
    pub ttl_ms: u64,
    /// 0: over, or about to be ended.
    pub left_ms: u64,
    /// A new leader counts from when it began.
    pub renewed_ms_ago: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    pub region: RegionName,
    /// `host:port`
    pub address: String,
    /// Whether its agent has a session; if not, all of it is what was told last.
    pub live: bool,
    /// None: nothing was told of it yet.
    pub role: Option<InstanceRole>,
    pub timeline: Option<u32>,
    pub position: Option<Lsn>,
    /// Behind where a replica that streams last heard its primary to be; of another, behind the furthest that
    /// anybody told of; none of a primary. Told every few seconds.
    pub lag_bytes: Option<u64>,
    /// How long it had not been level with its primary when it told of itself; none of a primary.
    pub silent_ms: Option<u64>,
    /// It follows nobody and has told its final position in the vacancy that is now.
    pub settled: bool,
    pub system: Option<String>,
    /// The process beside it that ends it with its lease.
    pub guard: Option<Guard>,
    pub problem: Option<String>,
    pub priority: u8,
    pub nofailover: bool,
}

/// Where clients connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// A URI of libpq over all instances: it finds whichever takes writes.
    pub read_write: String,
    /// The same for reads, of a replica where there is one.
    pub read_only: String,
    /// The service's names in DNS.
    pub names: Vec<String>,
    /// In each region that has some: its own address for whoever writes, and for a fresh replica.
    pub relays: Vec<Relay>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    pub region: RegionName,
    pub write: Option<String>,
    pub read: Option<String>,
}

/// The leases of all databases, as the leader counts them.
pub type Leases = std::collections::BTreeMap<ServiceName, LeaseStatus>;
