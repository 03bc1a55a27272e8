//! The configuration that every controller agrees on: `regions.yml` after defaults were filled in.
//! It is replicated through the log; how it is written in YAML is not this crate's business.

pub mod check;
mod database;
pub mod place;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::database::{Database, Engine, Instance, LeaseTimings, Login, MaxDataLoss, Mode, User};
pub use self::window::Window;
use crate::dns::RecordType;
use crate::name::{CheckId, DnsName, RegionName, ServiceName};
use crate::time::ms;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// In order of preference; a service starts in the first region that hosts it.
    pub regions: Vec<Region>,
    pub services: BTreeMap<ServiceName, Service>,
    pub strategy: Strategy,
    /// Every health check, one a target, expanded from the defaults.
    pub checks: Vec<Check>,
    pub zones: BTreeMap<DnsName, ZoneConfig>,
    pub status_page: StatusPage,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    pub name: RegionName,
    /// The key it stands under in `regions.yml`, such as `disaster_recovery`.
    pub label: String,
    pub provider: String,
    pub endpoints: Vec<String>,
    pub services: Vec<ServiceName>,
    /// Share of the full load it can carry: 1 to 100.
    pub capacity_percent: u8,
    pub jurisdiction: Option<String>,
    pub controllers: u16,
    pub agents: u16,
    /// Votes, keeps the log and observes, but hosts nothing.
    pub witness: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub tier: Tier,
    /// Empty: any.
    pub jurisdictions: Vec<String>,
    /// A region with less is no target.
    pub min_capacity_percent: u8,
    pub dns: Vec<DnsRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
}

/// A class of services and its objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    pub name: String,
    #[serde(with = "ms", rename = "rto_ms")]
    pub rto: Duration,
    #[serde(with = "ms", rename = "rpo_ms")]
    pub rpo: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    pub name: DnsName,
    pub zone: DnsName,
    pub rtype: RecordType,
    pub ttl_s: u32,
    pub values: BTreeMap<RegionName, Vec<String>>,
    pub routing: Routing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// The values of the service's primary region.
    Primary,
    /// Every healthy region at its weight (0 to 255); a region that is lost is left out.
    Weighted(BTreeMap<RegionName, u8>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneConfig {
    pub provider: DnsProvider,
    /// `host:port` of ordinary secondaries of the embedded server.
    #[serde(default)]
    pub secondaries: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum DnsProvider {
    /// Regent's own authoritative server in every agent.
    Embedded,
    /// Dynamic update (RFC 2136) signed by TSIG (RFC 8945).
    Rfc2136 {
        /// `host:port` of the one primary that takes updates.
        server: String,
        /// `host:port` of every authoritative server, for verification; the primary at least.
        authoritative: Vec<String>,
        tsig_name: String,
        /// Such as `hmac-sha256`.
        tsig_algorithm: String,
        /// Where the agent finds the secret, base64; the secret itself never enters the log.
        secret: SecretSource,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    File(String),
    Env(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    pub profile: Profile,
    /// From the first failed probe to the decision.
    #[serde(with = "ms", rename = "detection_timeout_ms")]
    pub detection_timeout: Duration,
    /// For a whole plan; after it a person is called.
    #[serde(with = "ms", rename = "recovery_timeout_ms")]
    pub recovery_timeout: Duration,
    /// An agent unheard of for this long has lost its session.
    #[serde(with = "ms", rename = "session_timeout_ms")]
    pub session_timeout: Duration,
    pub automatic_failover: bool,
    pub manual_approval_required: bool,
    pub failback: Failback,
    /// A service that has just moved stays at least this long, unless a person moves it.
    #[serde(with = "ms", rename = "min_stay_ms")]
    pub min_stay: Duration,
    /// A region that flapped is no target until it was healthy for this long.
    #[serde(with = "ms", rename = "hold_down_ms")]
    pub hold_down: Duration,
    pub moves: MoveLimits,
    pub gradual_shift: GradualShift,
    /// No drill begins, or goes on, in these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_drills: Vec<Window>,
}

/// Blast radius: how many automatic moves a window may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveLimits {
    pub per_service: u32,
    /// Counts events, not services: all services that leave one region together are one.
    pub overall: u32,
    #[serde(with = "ms", rename = "window_ms")]
    pub window: Duration,
}

/// A planned move to a region with less capacity goes in stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GradualShift {
    /// Share of the traffic at the target after each stage, rising, the last is 100.
    pub stages_percent: Vec<u8>,
    #[serde(with = "ms", rename = "pause_ms")]
    pub pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failback {
    /// A plan stands ready; a person starts it.
    Manual,
    /// When the preferred region was healthy for `hold_down` and the service stayed `min_stay`.
    Automatic,
}

/// A set of timings; each says in `docs/PROFILES.md` what it survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Safe,
    Balanced,
    Fast,
}

/// What a profile stands for where `regions.yml` does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    pub detection_timeout: Duration,
    pub session_timeout: Duration,
    /// Between two heartbeats of an agent's session.
    pub session_heartbeat: Duration,
    /// Between two heartbeats of the Raft leader.
    pub raft_heartbeat: Duration,
    pub election_timeout_min: Duration,
    pub election_timeout_max: Duration,
    pub hold_down: Duration,
    pub min_stay: Duration,
}

impl Profile {
    pub const fn timings(self) -> Timings {
        const fn t(ms: u64) -> Duration {
            Duration::from_millis(ms)
        }
        match self {
            // For links up to 300 ms round trip, and noisy hosts.
            Profile::Safe => Timings {
                probe_interval: t(10_000),
                probe_timeout: t(5_000),
                healthy_threshold: 2,
                unhealthy_threshold: 3,
                detection_timeout: t(30_000),
                session_timeout: t(15_000),
                session_heartbeat: t(3_000),
                raft_heartbeat: t(1_000),
                election_timeout_min: t(5_000),
                election_timeout_max: t(10_000),
                hold_down: t(300_000),
                min_stay: t(300_000),
            },
            Profile::Balanced => Timings {
                probe_interval: t(1_000),
                probe_timeout: t(1_000),
                healthy_threshold: 2,
                unhealthy_threshold: 3,
                detection_timeout: t(3_500),
                session_timeout: t(2_500),
                session_heartbeat: t(500),
                raft_heartbeat: t(300),
                election_timeout_min: t(800),
                election_timeout_max: t(1_500),
                hold_down: t(60_000),
                min_stay: t(60_000),
            },
            // For links up to 40 ms round trip and quiet hosts.
            Profile::Fast => Timings {
                probe_interval: t(100),
                probe_timeout: t(200),
                healthy_threshold: 2,
                unhealthy_threshold: 3,
                detection_timeout: t(450),
                session_timeout: t(350),
                session_heartbeat: t(70),
                raft_heartbeat: t(50),
                election_timeout_min: t(110),
                election_timeout_max: t(160),
                hold_down: t(15_000),
                min_stay: t(15_000),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub id: CheckId,
    /// The region whose health it tells.
    pub region: RegionName,
    /// The service it tells of; none: the whole region.
    pub service: Option<ServiceName>,
    pub probe: Probe,
    #[serde(with = "ms", rename = "interval_ms")]
    pub interval: Duration,
    #[serde(with = "ms", rename = "timeout_ms")]
    pub timeout: Duration,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Probe {
    /// `http` or `https`, by the URL.
    Http {
        url: String,
        /// Inclusive ranges; 200–399 unless told otherwise.
        expect_status: Vec<(u16, u16)>,
        /// A part of the body's first 64 KiB.
        expect_body: Option<String>,
    },
    Tcp {
        /// `host:port`.
        address: String,
    },
    Dns {
        /// `host:port` of the server asked.
        server: String,
        name: DnsName,
        rtype: RecordType,
        /// One of these must be among the answers; empty: any answer will do.
        expect: Vec<String>,
    },
    /// The standard health protocol, `grpc.health.v1.Health/Check`.
    Grpc {
        /// `http://host:port` or `https://host:port`.
        url: String,
        /// Empty: the server as a whole.
        service: String,
    },
    /// Run by the region's own agents only; exit status 0 is healthy.
    Command { argv: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusPage {
    pub name: String,
    pub url: String,
}

impl Config {
    pub fn region(&self, name: &RegionName) -> Option<&Region> {
        self.regions.iter().find(|region| region.name == *name)
    }

    /// Whether DNS servers of others say where this service is.
    pub fn is_named_elsewhere(&self, service: &ServiceName) -> bool {
        let records = self.services.get(service).map(|service| service.dns.as_slice()).unwrap_or_default();
        let mut zones = records.iter().filter_map(|record| self.zones.get(&record.zone));
        zones.any(|zone| zone.provider != DnsProvider::Embedded)
    }

    /// The regions that host a service, in order of preference.
    pub fn hosts<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Region> {
        self.regions.iter().filter(move |region| !region.witness && region.services.contains(service))
    }
}
