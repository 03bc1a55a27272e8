//! The database of a service, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::address::HostPort;
use super::super::collection::Ordered;
use super::super::scalar::{Setting, Size, Time, TimeOrZero};

/// A database with one instance in every region that hosts the service, of which one takes writes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Database {
    /// Default: postgresql.
    pub(in crate::config) engine: Option<Engine>,
    /// What a commit waits for before it is acknowledged. Default: async.
    pub(in crate::config) mode: Option<Mode>,
    /// sync, sync-strict: how many other instances must have a commit on disk. Default: 1.
    #[schemars(range(min = 1, max = 63))]
    pub(in crate::config) sync_acks: Option<u8>,
    /// Past this, nobody is promoted without a person's word.
    pub(in crate::config) max_data_loss: Option<MaxDataLoss>,
    /// How long a primary may take writes after a renewal. Default: the profile's.
    pub(in crate::config) lease_ttl: Option<Time>,
    /// Between two renewals. Default: the profile's.
    pub(in crate::config) lease_renew_every: Option<Time>,
    /// So long before the lease ends, what still runs is killed. Default: the profile's.
    pub(in crate::config) fence_budget: Option<Time>,
    /// A primary that cannot renew goes on while every other agent confirms that it holds no newer
    /// epoch. Default: false.
    pub(in crate::config) failsafe: Option<bool>,
    /// The role Regent itself uses, over a private socket. Default: postgres.
    pub(in crate::config) superuser: Option<String>,
    /// The role by which instances copy from each other.
    pub(in crate::config) replication: Option<Replication>,
    /// Settings of PostgreSQL besides those that Regent sets, by name, as in postgresql.conf.
    pub(in crate::config) settings: Option<Ordered<Setting>>,
    /// Lines of pg_hba.conf, after those that Regent needs.
    pub(in crate::config) hba: Option<Vec<String>>,
    /// Roles that clients log in as, by name.
    pub(in crate::config) users: Option<Ordered<User>>,
    /// The data folder of every instance that names none of its own.
    pub(in crate::config) data_dir: Option<String>,
    /// Where the programs are, unless an instance says otherwise. Default: the newest that is found.
    pub(in crate::config) bin_dir: Option<String>,
    /// Whom it runs as when the agent is root, unless an instance says otherwise. Default: postgres.
    pub(in crate::config) os_user: Option<String>,
    /// Of every instance that has none of its own. Default: 5432.
    #[schemars(range(min = 1))]
    pub(in crate::config) port: Option<u16>,
    /// By region (name or label): one for every region that hosts the service.
    pub(in crate::config) instances: Ordered<Option<Instance>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Engine {
    Postgresql,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum Mode {
    /// For the primary's own disk.
    #[default]
    Async,
    /// Also for `sync_acks` other instances; with too few there, the controllers may agree that it goes on.
    Sync,
    /// Also for `sync_acks` other instances, however long that takes.
    SyncStrict,
}

/// How much may be lost when a primary is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct MaxDataLoss {
    /// How far behind a candidate may be. Default: 16MiB.
    pub(in crate::config) bytes: Option<Size>,
    /// How long ago it may have been level. Default: the tier's rpo, or the lease where that is longer.
    pub(in crate::config) time: Option<TimeOrZero>,
}

/// The role by which instances copy from each other. The password itself never stands in this file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Replication {
    /// Default: regent_replication.
    pub(in crate::config) user: Option<String>,
    /// A file on the agents' machines that holds the password.
    pub(in crate::config) password_file: Option<String>,
    /// A variable of the agents' environment that holds the password.
    pub(in crate::config) password_env: Option<String>,
}

/// A role that clients log in as. The password itself never stands in this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct User {
    /// A file on the agents' machines that holds the password.
    pub(in crate::config) password_file: Option<String>,
    /// A variable of the agents' environment that holds the password.
    pub(in crate::config) password_env: Option<String>,
    /// A database of that name is made if it is missing, and is this role's own.
    pub(in crate::config) database: Option<String>,
}

/// One copy of the database.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Instance {
    /// Where the other instances and clients reach it. Default: the host of the region's first endpoint.
    pub(in crate::config) host: Option<String>,
    /// Its data folder, on the agent's machine.
    pub(in crate::config) data_dir: Option<String>,
    /// Default: 5432.
    #[schemars(range(min = 1))]
    pub(in crate::config) port: Option<u16>,
    /// Addresses it listens on. Default: `host` where that is an address, else all.
    #[schemars(length(min = 1))]
    pub(in crate::config) listen: Option<Vec<String>>,
    /// Where its programs are. Default: the newest that is found.
    pub(in crate::config) bin_dir: Option<String>,
    /// Whom it runs as when the agent is root. Default: postgres.
    pub(in crate::config) os_user: Option<String>,
    /// Of equally advanced candidates the one with the highest is promoted. Default: 100.
    pub(in crate::config) priority: Option<u8>,
    /// Never promoted by itself. Default: false.
    pub(in crate::config) nofailover: Option<bool>,
    /// host:port at which this region's agent relays to the primary, wherever it is.
    pub(in crate::config) write_endpoint: Option<HostPort>,
    /// host:port at which this region's agent relays to the nearest fresh replica.
    pub(in crate::config) read_endpoint: Option<HostPort>,
}
