//! The database of a service: an instance for each region, with what is said once for all of them.

use std::net::IpAddr;

use decision::config::check::Finding;
use decision::config::place::Place;
use decision::config::{
    Config, Database, Engine, Instance, LeaseTimings, Login, MaxDataLoss, Mode, SecretSource, Tier, User,
};
use decision::name::RegionName;

use super::{by_region, checks, model};
use crate::config::collection::Ordered;

const LOSS_BYTES_DEFAULT: u64 = 16 << 20;
const PORT_DEFAULT: u16 = 5432;
const PRIORITY_DEFAULT: u8 = 100;
const SUPERUSER_DEFAULT: &str = "postgres";
const REPLICATION_DEFAULT: &str = "regent_replication";
const OS_USER_DEFAULT: &str = "postgres";

pub(super) fn convert(
    config: &Config,
    mut written: model::Database,
    tier: &Tier,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Database {
    let own = config.strategy.profile.lease();
    let lease = LeaseTimings {
        ttl: written.lease_ttl.map_or(own.ttl, |time| time.0),
        renew_every: written.lease_renew_every.map_or(own.renew_every, |time| time.0),
        fence_budget: written.fence_budget.map_or(own.fence_budget, |time| time.0),
    };
    let loss = written.max_data_loss.take().unwrap_or_default();
    let settings = written.settings.take().unwrap_or_default().0;
    let instances = std::mem::take(&mut written.instances);
    let instances = by_region(&config.regions, instances, &at.key("instances"), findings)
        .into_iter()
        .map(|(region, instance)| {
            let instance = convert_one(config, &written, &region, instance.unwrap_or_default());
            (region, instance)
        })
        .collect();
    Database {
        engine: match written.engine {
            Some(model::Engine::Postgresql) | None => Engine::Postgresql,
        },
        mode: mode(&written, at, findings),
        max_data_loss: MaxDataLoss {
            bytes: loss.bytes.map_or(LOSS_BYTES_DEFAULT, |size| size.0),
            time: loss.time.map_or(tier.rpo.max(lease.expiry()), |time| time.0),
        },
        lease,
        failsafe: written.failsafe.unwrap_or(false),
        instances,
        superuser: written.superuser.unwrap_or_else(|| SUPERUSER_DEFAULT.to_owned()),
        replication: replication(written.replication.unwrap_or_default(), &at.key("replication"), findings),
        settings: settings.into_iter().map(|(name, value)| (name, value.0)).collect(),
        hba: written.hba.unwrap_or_default(),
        users: users(written.users.unwrap_or_default(), &at.key("users"), findings),
    }
}

fn mode(written: &model::Database, at: &Place, findings: &mut Vec<Finding>) -> Mode {
    let acks = written.sync_acks.unwrap_or(1);
    match written.mode.unwrap_or_default() {
        model::Mode::Async => {
            if written.sync_acks.is_some() {
                findings.push(
                    Finding::error(
                        at.key("sync_acks"),
                        "sync_acks means nothing in mode async, which waits for nobody",
                        "remove it, or write `mode: sync`",
                    )
                    .related(at.key("mode")),
                );
            }
            Mode::Async
        }
        model::Mode::Sync => Mode::Sync { acks },
        model::Mode::SyncStrict => Mode::SyncStrict { acks },
    }
}

fn replication(written: model::Replication, at: &Place, findings: &mut Vec<Finding>) -> Login {
    let user = written.user.unwrap_or_else(|| REPLICATION_DEFAULT.to_owned());
    let password =
        password(written.password_file, written.password_env, "REPLICATION_PASSWORD", at, findings);
    Login { user, password }
}

fn users(written: Ordered<model::User>, at: &Place, findings: &mut Vec<Finding>) -> Vec<User> {
    let convert = |(name, user): (String, model::User)| {
        let at = at.key(&name);
        let password = password(user.password_file, user.password_env, "APP_PASSWORD", &at, findings);
        User { name, password, database: user.database }
    };
    let mut users: Vec<User> = written.0.into_iter().map(convert).collect();
    // What differs in the order alone is no change.
    users.sort_by(|a, b| a.name.cmp(&b.name));
    users
}

/// Whether a password is needed at all, the pure check knows.
fn password(
    file: Option<String>,
    variable: Option<String>,
    example: &str,
    at: &Place,
    findings: &mut Vec<Finding>,
) -> Option<SecretSource> {
    match (file, variable) {
        (Some(_), Some(_)) => {
            findings.push(
                Finding::error(
                    at.key("password_env"),
                    "password_file and password_env exclude each other",
                    "keep one of the two",
                )
                .related(at.key("password_file")),
            );
            Some(SecretSource::Env(String::new()))
        }
        (Some(file), None) => Some(SecretSource::File(file)),
        (None, Some(variable)) => {
            if !is_variable(&variable) {
                // Not repeated: it may well be the password.
                findings.push(Finding::error(
                    at.key("password_env"),
                    "this is not the name of a variable of the agents' environment",
                    format!(
                        "write for example `password_env: {example}`; the password itself never stands here"
                    ),
                ));
            }
            Some(SecretSource::Env(variable))
        }
        (None, None) => None,
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What is missing is left empty, and the pure check names it.
fn convert_one(
    config: &Config,
    all: &model::Database,
    region: &RegionName,
    written: model::Instance,
) -> Instance {
    let first_endpoint = || config.region(region)?.endpoints.first().and_then(|first| checks::host_of(first));
    let host = written.host.or_else(first_endpoint).unwrap_or_default();
    // As in an address with a port; alone it needs no brackets.
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host).to_owned();
    let everywhere = || vec![if host.parse::<IpAddr>().is_ok() { host.clone() } else { "*".to_owned() }];
    Instance {
        listen: written.listen.unwrap_or_else(everywhere),
        data_dir: written.data_dir.or_else(|| all.data_dir.clone()).unwrap_or_default(),
        port: written.port.or(all.port).unwrap_or(PORT_DEFAULT),
        bin_dir: written.bin_dir.or_else(|| all.bin_dir.clone()),
        os_user: written
            .os_user
            .or_else(|| all.os_user.clone())
            .unwrap_or_else(|| OS_USER_DEFAULT.to_owned()),
        priority: written.priority.unwrap_or(PRIORITY_DEFAULT),
        nofailover: written.nofailover.unwrap_or(false),
        write_endpoint: written.write_endpoint.map(|address| address.0),
        read_endpoint: written.read_endpoint.map(|address| address.0),
        host,
    }
}
