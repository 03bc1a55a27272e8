//! The configuration's database in the words of `regions.yml`, so that what is shown can be loaded again
//! and what has changed is found by the key that was changed.

use std::collections::BTreeMap;

use decision::config::{Database, Engine, Instance, Mode, SecretSource};
use decision::name::RegionName;
use decision::time::Human;
use serde::Serialize;

use super::scalar::Size;

#[derive(Serialize)]
pub(super) struct Written<'a> {
    engine: &'static str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_acks: Option<u8>,
    max_data_loss: MaxDataLoss,
    lease_ttl: String,
    lease_renew_every: String,
    fence_budget: String,
    failsafe: bool,
    superuser: &'a str,
    replication: Replication<'a>,
    settings: &'a BTreeMap<String, String>,
    hba: &'a [String],
    instances: BTreeMap<&'a RegionName, &'a Instance>,
}

#[derive(Serialize)]
struct MaxDataLoss {
    bytes: String,
    time: String,
}

#[derive(Serialize)]
struct Replication<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_env: Option<&'a str>,
}

pub(super) fn database(database: &Database) -> Written<'_> {
    let (mode, sync_acks) = match database.mode {
        Mode::Async => ("async", None),
        Mode::Sync { acks } => ("sync", Some(acks)),
        Mode::SyncStrict { acks } => ("sync-strict", Some(acks)),
    };
    let (password_file, password_env) = match &database.replication.password {
        Some(SecretSource::File(file)) => (Some(file.as_str()), None),
        Some(SecretSource::Env(variable)) => (None, Some(variable.as_str())),
        None => (None, None),
    };
    Written {
        engine: match database.engine {
            Engine::Postgresql => "postgresql",
        },
        mode,
        sync_acks,
        max_data_loss: MaxDataLoss {
            bytes: Size(database.max_data_loss.bytes).to_string(),
            time: Human(database.max_data_loss.time).to_string(),
        },
        lease_ttl: Human(database.lease.ttl).to_string(),
        lease_renew_every: Human(database.lease.renew_every).to_string(),
        fence_budget: Human(database.lease.fence_budget).to_string(),
        failsafe: database.failsafe,
        superuser: &database.superuser,
        replication: Replication { user: &database.replication.user, password_file, password_env },
        settings: &database.settings,
        hba: &database.hba,
        instances: database.instances.iter().collect(),
    }
}
