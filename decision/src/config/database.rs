//! The database of a service: one instance a region, of which one takes writes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Profile, SecretSource};
use crate::name::RegionName;
use crate::time::ms;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    pub engine: Engine,
    pub mode: Mode,
    /// Past this, nobody is promoted without a person's word.
    pub max_data_loss: MaxDataLoss,
    pub lease: LeaseTimings,
    /// Whether a primary that cannot renew may go on while every other agent confirms that it
    /// holds no newer epoch.
    pub failsafe: bool,
    pub instances: BTreeMap<RegionName, Instance>,
    /// The role that Regent itself uses, over a private Unix socket and by the operating system's
    /// user, so without a password.
    pub superuser: String,
    pub replication: Login,
    /// Added to what Regent sets; by name, as in `postgresql.conf`.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Lines of `pg_hba.conf`, after those that Regent needs.
    #[serde(default)]
    pub hba: Vec<String>,
    /// Roles that clients log in as; by name.
    #[serde(default)]
    pub users: Vec<User>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    Postgresql,
}

/// What a commit waits for before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// For the primary's own disk.
    Async,
    /// Also for any `acks` other instances; when too few are there, the controllers may agree that
    /// it goes on without them, and that nobody is promoted meanwhile.
    Sync { acks: u8 },
    /// Also for any `acks` other instances, however long that takes.
    SyncStrict { acks: u8 },
}

impl Mode {
    /// How many other instances must have a commit on disk before it is acknowledged.
    pub fn acks(self) -> u8 {
        match self {
            Mode::Async => 0,
            Mode::Sync { acks } | Mode::SyncStrict { acks } => acks,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxDataLoss {
    pub bytes: u64,
    #[serde(with = "ms", rename = "time_ms")]
    pub time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTimings {
    /// How long a primary may take writes after it sent the renewal that was answered.
    #[serde(with = "ms", rename = "ttl_ms")]
    pub ttl: Duration,
    /// Between two renewals.
    #[serde(with = "ms", rename = "renew_every_ms")]
    pub renew_every: Duration,
    /// The guard kills so long before the lease ends.
    #[serde(with = "ms", rename = "fence_budget_ms")]
    pub fence_budget: Duration,
}

impl LeaseTimings {
    /// After this, by any clock, a lease is surely over; rounded up.
    pub fn expiry(self) -> Duration {
        crate::database::lease::span(self.ttl)
    }
}

impl Profile {
    /// What a lease is where `regions.yml` does not say otherwise.
    pub const fn lease(self) -> LeaseTimings {
        const fn t(ms: u64) -> Duration {
            Duration::from_millis(ms)
        }
        match self {
            Profile::Safe => LeaseTimings { ttl: t(25_000), renew_every: t(2_000), fence_budget: t(2_000) },
            Profile::Balanced => LeaseTimings { ttl: t(4_200), renew_every: t(400), fence_budget: t(500) },
            Profile::Fast => LeaseTimings { ttl: t(660), renew_every: t(60), fence_budget: t(60) },
        }
    }
}

/// One copy of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its data folder, on the agent's machine.
    pub data_dir: String,
    /// Where the other instances and clients reach it.
    pub host: String,
    pub port: u16,
    /// Addresses it listens on; as `listen_addresses`.
    pub listen: Vec<String>,
    /// Where its programs are; none: the newest that is found.
    pub bin_dir: Option<String>,
    /// Whom it runs as when the agent is root, because PostgreSQL refuses to be.
    pub os_user: String,
    /// Of equally advanced candidates the one with the highest is promoted.
    pub priority: u8,
    /// Never promoted by itself.
    pub nofailover: bool,
    /// `host:port` at which this region's agent relays to the primary, wherever it is.
    pub write_endpoint: Option<String>,
    /// `host:port` at which this region's agent relays to the nearest fresh replica.
    pub read_endpoint: Option<String>,
}

impl Instance {
    /// `host:port`
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    pub user: String,
    /// Where the agent finds the password; the password itself never enters the log.
    pub password: Option<SecretSource>,
}

/// A role that may log in by a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// Where the agent finds the password; the password itself never enters the log.
    pub password: Option<SecretSource>,
    /// A database of that name is made if it is missing, and is this role's own.
    pub database: Option<String>,
}
