//! The configuration's database in the words of `regions.yml`, so that what is shown can be loaded again
//! and what has changed is found by the key that was changed.

use std::collections::BTreeMap;

use decision::config::{Database, Engine, Instance, Mode, SecretSource, User};
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
    users: BTreeMap<&'a str, WrittenUser<'a>>,
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
    #[serde(flatten)]
    password: Password<'a>,
}

#[derive(Serialize)]
struct WrittenUser<'a> {
    #[serde(flatten)]
    password: Password<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'a str>,
}

#[derive(Serialize)]
struct Password<'a> {
    #[serde(rename = "password_file", skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(rename = "password_env", skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
}

impl<'a> Password<'a> {
    fn of(source: Option<&'a SecretSource>) -> Password<'a> {
        match source {
            Some(SecretSource::File(file)) => Password { file: Some(file), variable: None },
            Some(SecretSource::Env(variable)) => Password { file: None, variable: Some(variable) },
            None => Password { file: None, variable: None },
        }
    }
}

fn user(user: &User) -> (&str, WrittenUser<'_>) {
    let password = Password::of(user.password.as_ref());
    (&user.name, WrittenUser { password, database: user.database.as_deref() })
}

pub(super) fn database(database: &Database) -> Written<'_> {
    let (mode, sync_acks) = match database.mode {
        Mode::Async => ("async", None),
        Mode::Sync { acks } => ("sync", Some(acks)),
        Mode::SyncStrict { acks } => ("sync-strict", Some(acks)),
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
        replication: Replication {
            user: &database.replication.user,
            password: Password::of(database.replication.password.as_ref()),
        },
        settings: &database.settings,
        hba: &database.hba,
        users: database.users.iter().map(user).collect(),
        instances: database.instances.iter().collect(),
    }
}
